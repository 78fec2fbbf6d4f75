"""Processes of a training as `torchrun` starts them, forked from one start of Python.

python ranks.py FOLDER CONFIG       FOLDER/public is a workspace's; FOLDER/<scenario>-<rank> says
                                    what came of every rank, FOLDER/<scenario> is its workspace
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
from torch.distributed import TCPStore

torch.set_num_threads(1)

from challenge.configs.errors import UserError
from challenge.submissions import machine
from challenge.submissions.runs import torchrun
from challenge.submissions.runs.train import train

folder, CONFIG = Path(sys.argv[1]), json.loads(sys.argv[2])


def at(step, act):
    return lambda done, total, values: act() if done == step else None


def place(scenario):
    made = folder / scenario
    made.mkdir(exist_ok=True)
    if not (made / "public").exists():
        (made / "public").symlink_to(folder / "public")
    return made


def outcome(work):
    try:
        done = work()
        return "finished" if done.finished else f"stopped by {done.signal}"
    except UserError as error:
        return f"error: {error}"
    except SystemExit as end:
        return f"exit {end.code}"


def of_torchrun(rank, port):
    """One process on each of two nodes."""
    return {
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "GROUP_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def of_processes(rank, port):
    """As `--processes 2` does."""
    return {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def fork(scenario, work, environment=of_torchrun):
    # Torchrun's agent, for the ranks that it starts: it has the store.
    store = (
        TCPStore("127.0.0.1", 0, is_master=environment is of_torchrun, wait_for_workers=False)
        if environment is of_torchrun
        else None
    )
    port = store.port if store else free_port()
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            try:
                os.environ.update(environment(rank, port))
                (folder / f"{scenario}-{rank}").write_text(outcome(lambda: work(rank)))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def kill_own(number):
    os.kill(os.getpid(), number)


def plain(name, **options):
    return lambda rank: train(CONFIG, workspace=place(name), **options)


def dying(name, rank_that_dies):
    """Killed after its second checkpoint, at a step in which the others wait for it."""

    def work(rank):
        from challenge.methods.training import loop

        step = loop._Loop.step

        def fatal(self, batch):
            if rank == rank_that_dies and self.state.step == 9:
                kill_own(signal.SIGKILL)
            return step(self, batch)

        loop._Loop.step = fatal
        return train(CONFIG, workspace=place(name))

    return work


def stopping(rank):
    from challenge.methods.training import loop

    step = loop._Loop.step

    def asked(self, batch):
        if rank == 1 and self.state.step == 5:
            kill_own(signal.SIGTERM)
        return step(self, batch)

    loop._Loop.step = asked
    return train(CONFIG, workspace=place("stopped"), catch_interrupts=True)


def elsewhere(rank):
    """The second node has a workspace of its own, with another challenge of this name."""
    return train(CONFIG, workspace=place("elsewhere") if rank == 0 else folder / "other")


def nowhere(rank):
    return train(CONFIG, workspace=place("nowhere") if rank == 0 else folder / "void")


def older(rank):
    if rank:
        known = machine.versions()
        machine.versions = lambda: {**known, "toolkit": "0.0.1"}
    return train(CONFIG, workspace=place("older"))


def unshared(rank):
    """The second node does not see the run that is continued."""
    return train(CONFIG, workspace=place("gone" if rank == 0 else "older"), resume=True)


torchrun.PATIENCE = 60
SCENARIOS = {
    "law": plain("law"),
    "stopped": stopping,
    "gone": dying("gone", 1),
    "first": dying("first", 0),
    "elsewhere": elsewhere,
    "nowhere": nowhere,
    "older": older,
    "unshared": unshared,
    "uneven": lambda rank: train(CONFIG, ["train.batch=3"], workspace=place("uneven")),
    "doubled": plain("doubled", processes=2),
    "finish": plain("finish", finish=True),
}
fork("processes", plain("processes", processes=2), of_processes)
for scenario, work in SCENARIOS.items():
    fork(scenario, work)
for scenario in ("stopped", "gone", "first"):
    fork(f"{scenario}-again", plain(scenario, resume=True))
