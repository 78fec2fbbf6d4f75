"""Two processes on a CPU train as one does with the whole batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from challenge.configs.schema.entry import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.network import Network
from challenge.methods.networks.architectures import Net
from challenge.methods.training.loop import supervised

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from challenge.configs.errors import UserError
from challenge.configs.schema.entry import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.training import patches
from challenge.methods import registry
from challenge.methods.training.loop import supervised

tune_batch = patches.tune_batch
patches.tune_batch = lambda *each: patches.Batch(
    *(value.double() if torch.is_tensor(value) else value for value in tune_batch(*each))
)
folder, processes, jobs = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
fabric = Fabric(
    accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
    precision="64-true", plugins=[LightningEnvironment()],
)
fabric.launch()
for number, (knobs, settings) in enumerate(jobs):
    name = f"{number}-{processes}-{fabric.global_rank}"
    session = ToySession(3)
    session.fabric = fabric
    torch.manual_seed(0)
    net = {"width": 8, "depth": 1, "blocks": 1}
    net |= knobs.pop("net", {})
    method = registry.build({"name": "network", "precision": "float32", "net": net, **knobs})
    usual = {"steps": 30, "batch": 4, "patch": 24, "tune": 3, "evaluate": 10, "lr": 1e-3}
    train, saved = TrainConfig(**{**usual, **settings}), {}
    session.save = lambda tensors, state: saved.update(tensors)
    try:
        supervised(method, toy_problem(), toy_images(7), train, session)
    except UserError as error:
        (folder / f"{name}.error").write_text(str(error))
        continue
    last = {k: v.detach().double().contiguous() for k, v in saved.items() if k.startswith("last.")}
    save_file(last, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(session.lines))
if processes > 1:
    fabric.barrier()
    torch.distributed.destroy_process_group()
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
    """What one process and two processes made of the jobs."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    for processes, jobs in ((1, JOBS[:2]), (2, JOBS)):
        command = [sys.executable, str(script), str(folder), str(processes), json.dumps(jobs)]
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


def test_the_command_shares_a_run_among_processes(tmp_path):
    challenge = Path(sys.executable).parent / "challenge"
    small = ["images.train=8", "images.val=1", "images.test=1", "images.size=64"]
    subprocess.run(
        [challenge, "prepare", "deblur", *small], cwd=tmp_path, check=True, capture_output=True
    )
    command = [
        challenge,
        "train",
        "network",
        "train.steps=6",
        "train.evaluate=3",
        "train.batch=4",
        "method.net.width=8",
        "method.net.depth=1",
        "--processes",
        "2",
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained network in") == 1
    lines = (tmp_path / "workspace/runs/deblur/network/log.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [0, 3, 6, 6]
    again = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert again.returncode == 2
    assert again.stderr.count("exists already") == 1


STOPPING = """
import sys
from pathlib import Path
from challenge.submissions.layout import Run
from challenge.submissions.runs.session import RunSession
session = RunSession(Run(Path(sys.argv[1]) / "run"), processes=2, precision="float32")
rank = session.fabric.global_rank
before = session.should_stop()
if rank == 1:
    session.request_stop()
after = session.should_stop()
session.log(1, 2, loss=1.0)
session.close()
(Path(sys.argv[1]) / f"stop-{rank}").write_text(f"{before} {after} {session.writes}")
"""


def test_one_process_that_is_asked_to_stop_stops_all_and_only_the_first_writes(tmp_path):
    script = tmp_path / "stop.py"
    script.write_text(STOPPING)
    command = [sys.executable, str(script), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert (tmp_path / "stop-0").read_text() == "False True True"
    assert (tmp_path / "stop-1").read_text() == "False True False"
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 1
