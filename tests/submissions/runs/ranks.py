"""Processes of a training as `torchrun` starts them, forked from one start of Python.

python ranks.py FOLDER CONFIG       FOLDER/public is a workspace's; FOLDER/<scenario>-<rank> says
                                    what came of every rank, FOLDER/<scenario> is its workspace
"""

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

# What a training imports late: here once, in place of once for every rank.
import deepinv
import lightning_fabric.plugins.environments
import skimage.metrics
import torch
from torch.distributed import TCPStore

from challenge.configs.errors import UserError
from challenge.methods.end_to_end import network
from challenge.methods.training import loop
from challenge.submissions import machine
from challenge.submissions.runs import torchrun
from challenge.submissions.runs.train import train

torch.set_num_threads(1)
torchrun.PATIENCE = 60
IMPORTED = (deepinv, lightning_fabric, network, skimage)
folder, CONFIG = Path(sys.argv[1]), json.loads(sys.argv[2])


def place(scenario):
    made = folder / scenario
    made.mkdir(exist_ok=True)
    if not (made / "public").exists():
        (made / "public").symlink_to(folder / "public")
    return made


def outcome(work, rank):
    try:
        done = work(rank)
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
    """Two ranks; this process has the store of torchrun's, as its agent has."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    port = store.port if environment is of_torchrun else free_port()
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            try:
                os.environ.update(environment(rank, port))
                (folder / f"{scenario}-{rank}").write_text(outcome(work, rank))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def plain(name, **options):
    def work(rank):
        started = folder / f"{name}-started-{rank}"
        return train(CONFIG, workspace=place(name), on_start=lambda _: started.touch(), **options)

    return work


def sending(number, to, step, name, **options):
    """A signal to one of the ranks before it takes a step, for which the other one waits."""

    def work(rank):
        take = loop._Loop.step

        def struck(self, batch):
            if rank == to and self.state.step == step:
                os.kill(os.getpid(), number)
            return take(self, batch)

        loop._Loop.step = struck
        return train(CONFIG, workspace=place(name), **options)

    return work


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


SCENARIOS = {
    "law": plain("law"),
    "stopped": sending(signal.SIGTERM, 1, 3, "stopped", catch_interrupts=True),
    "gone": sending(signal.SIGKILL, 1, 5, "gone"),
    "first": sending(signal.SIGKILL, 0, 5, "first"),
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
for scenario in ("stopped", "gone"):
    fork(f"{scenario}-again", plain(scenario, resume=True))
