"""Two processes on a CPU train as one does with the whole batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from safetensors.torch import load_file

from challenge.cli.main import app
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.network import Network
from challenge.methods.networks.architectures import Net
from challenge.methods.training.loop import supervised
from challenge.methods.training.processes import Processes

SCRIPT = """
import json, os, signal, socket, sys, traceback
from pathlib import Path
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.training import patches
from challenge.methods import registry
from challenge.methods.training.loop import supervised
from challenge.submissions.layout import Run
from challenge.submissions.runs.session import RunSession
from challenge.submissions.runs.signals import stop_on_signals

tune_batch = patches.tune_batch
patches.tune_batch = lambda *each: patches.Batch(
    *(value.double() if torch.is_tensor(value) else value for value in tune_batch(*each))
)

def train(folder, processes, jobs):
    fabric = Fabric(
        accelerator="cpu", devices=processes,
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="64-true", plugins=[LightningEnvironment()],
    )
    fabric.launch()
    for number, (knobs, settings) in enumerate(jobs):
        name = f"{number}-{processes}-{fabric.global_rank}"
        session = ToySession(3)
        session.fabric = fabric
        torch.manual_seed(0)
        net = {"width": 8, "depth": 1, "blocks": 1, **knobs.pop("net", {})}
        method = registry.build({"name": "network", "precision": "float32", "net": net, **knobs})
        usual = {"steps": 30, "batch": 4, "patch": 24, "tune": 3, "evaluate": 10, "lr": 1e-3}
        settings, saved = TrainConfig(**{**usual, **settings}), {}
        session.save = lambda tensors, state: saved.update(tensors)
        try:
            supervised(method, toy_problem(), toy_images(7), settings, session)
        except UserError as error:
            (folder / f"{name}.error").write_text(str(error))
            continue
        last = {
            k: v.detach().double().contiguous() for k, v in saved.items() if k.startswith("last.")
        }
        save_file(last, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(session.lines))
    if processes > 1:
        fabric.barrier()
        torch.distributed.destroy_process_group()

def stop(folder):
    session = RunSession(Run(folder / "run"), processes=2, precision="float32")
    session.launch()
    rank = session.fabric.global_rank
    before = session.should_stop()
    if rank == 1:
        with stop_on_signals(session, None):
            os.kill(os.getpid(), signal.SIGTERM)
    after = session.should_stop()
    session.log(1, 2, loss=1.0)
    session.close()
    (folder / f"stop-{rank}").write_text(f"{before} {after} {session.writes}")

def refuse(folder):
    session = RunSession(Run(folder / "run"), processes=2, precision="float32")
    session.launch()
    rank = session.fabric.global_rank
    def fail():
        raise UserError("exists already")
    try:
        session.first_alone(fail)
    except UserError:
        (folder / f"refused-{rank}").write_text("UserError")
    except SystemExit as end:
        (folder / f"refused-{rank}").write_text(f"SystemExit {end.code}")

def fork(processes, work):
    # As the launcher does, by the environment, but without starting Python again for each.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            code = 1
            try:
                if processes > 1:
                    os.environ.update(
                        LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(processes),
                        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                    )
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * processes

folder, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
fork(1, lambda: train(folder, 1, jobs[:2]))
fork(2, lambda: train(folder, 2, jobs))
fork(2, lambda: stop(folder))
fork(2, lambda: refuse(folder))
"""

GROWING = {"name": "unrolled", "steps": 2}
JOBS = [
    ({}, {"ema": 0.9}),
    (GROWING, {"steps": 12}),
    ({"net": {"normalisation": "batch"}}, {}),
    ({}, {"batch": 3}),
]
"""What is trained: a network, one that takes part from the middle on, two that cannot be shared."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process and two processes made of the jobs, and of a wish to stop."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder), json.dumps(JOBS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_are_one_with_the_whole_batch(folder):
    alone, first, second = (
        load_file(folder / f"{name}.safetensors") for name in ("0-1-0", "0-2-0", "0-2-1")
    )
    start = Network(net=Net(width=8, depth=1, blocks=1)).state_dict()
    for name, value in alone.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(first[name], value, atol=1e-6, rtol=0)
        assert torch.equal(first[name], second[name])
    moved = alone["last.net.tail.weight"] - start["net.tail.weight"].double()
    assert moved.abs().max() > 1e-3


def test_losses_and_quality_are_those_of_the_whole_batch_and_of_all_images(folder):
    lines, others = (json.loads((folder / f"0-{n}-0.json").read_text()) for n in (1, 2))
    assert {"loss", "psnr", "ssim"} <= lines[-1].keys()
    for line, other in zip(lines, others, strict=True):
        for key in ("loss", "psnr", "ssim"):
            assert (key in line) == (key in other)
            assert other.get(key, 0) == pytest.approx(line.get(key, 0), rel=1e-6)


def test_a_network_that_takes_part_later_is_shared_as_well(folder):
    alone, first, second = (
        load_file(folder / f"{name}.safetensors") for name in ("1-1-0", "1-2-0", "1-2-1")
    )
    assert alone["last.nets.1.tail.weight"].abs().max() > 1e-5
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, atol=1e-6, rtol=0)
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize(
    ("job", "text"), [(2, "give `method.net.normalisation=group`"), (3, "give a multiple of 2")]
)
def test_what_two_processes_cannot_share_is_refused_by_both(folder, job, text):
    for rank in (0, 1):
        assert text in (folder / f"{job}-2-{rank}.error").read_text()


def test_one_process_may_use_batch_norm():
    method = Network(net=Net(width=8, depth=1, blocks=1, normalisation="batch"))
    train = TrainConfig(steps=2, batch=2, patch=24, tune=1, evaluate=2)
    supervised(method, toy_problem(), toy_images(), train, ToySession())


def test_the_contract_test_is_silent_where_slurm_is_installed(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert ToySession().fabric.world_size == 1


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder with a prepared challenge."""
    monkeypatch.chdir(tmp_path)
    small = ["images.train=4", "images.val=1", "images.test=1", "images.size=64"]
    app(["prepare", "deblur", *small], standalone_mode=False)
    return tmp_path


TRAIN = ["train", "network", "train.steps=6", "train.evaluate=3", "train.batch=4", "train.patch=32",
         "method.net.width=8", "method.net.depth=1"]  # fmt: skip


def by_two(folder, **environment):
    """The command as a person gives it; it starts the second process."""
    command = [Path(sys.executable).parent / "challenge", *TRAIN]
    return subprocess.run(
        [*command, "--processes", "2", "--device", "cpu"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_the_command_shares_a_run_among_processes(prepared):
    # What other jobs on the machine leave in the environment, with a port that is taken.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = by_two(prepared, MASTER_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained network in") == 1
    lines = (prepared / "workspace/runs/deblur/network/log.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [0, 3, 6, 6]


@pytest.mark.slow
def test_the_command_says_once_that_a_run_exists(prepared):
    app(TRAIN, standalone_mode=False)
    again = by_two(prepared)
    assert again.returncode == 2
    assert again.stderr.count("exists already") == 1


def test_what_the_first_process_refuses_is_said_by_it_alone(folder):
    assert (folder / "refused-0").read_text() == "UserError"
    assert (folder / "refused-1").read_text() == "SystemExit 0"


def test_one_process_that_is_asked_to_stop_stops_all_and_only_the_first_writes(folder):
    assert (folder / "stop-0").read_text() == "False True True"
    assert (folder / "stop-1").read_text() == "False True False"
    assert len((folder / "run/log.jsonl").read_text().splitlines()) == 1


def test_processes_know_how_many_of_them_are_on_this_machine():
    alone = Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])
    assert Processes(alone).here == 1
    # Two machines with two each: not launched, for nobody comes.
    four = Fabric(
        accelerator="cpu", devices=2, num_nodes=2, strategy="ddp", plugins=[LightningEnvironment()]
    )
    assert Processes(four).here == 2
