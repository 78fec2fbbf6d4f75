"""A run's session: log, checkpoints that survive anything, the wish to stop, Fabric."""

import errno
import json
import math
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.submissions.layout import Run
from challenge.submissions.runs.session import RunSession


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture
def session(run):
    return RunSession(run)


def resumed(run):
    return RunSession(run, resume=True)


def lines(run):
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def tensors(value=0.0):
    return {
        "weight": torch.arange(24.0)
        .reshape(2, 3, 2, 2)
        .contiguous(memory_format=torch.channels_last)
        + value,
        "random": torch.arange(200, dtype=torch.uint8),
        "half": torch.tensor([1 / 3], dtype=torch.bfloat16),
        "step": torch.tensor(7.0),
    }


def test_nothing_is_written_before_it_is_needed(run, session):
    session.log(1, 10)
    assert session.restore() is None
    assert not run.path.exists()


@settings(max_examples=25, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_from_the_log_as_they_went_in(tmp_path_factory, value):
    run = Run(tmp_path_factory.mktemp("run"))
    session = RunSession(run)
    session.log(3, None, loss=value, lr=1e-3)
    assert lines(run) == [{"step": 3, "total": None, "loss": value, "lr": 1e-3}]


def test_each_line_can_be_read_at_once(run, session):
    session.log(1, 2, loss=0.5)
    assert lines(run) == [{"step": 1, "total": 2, "loss": 0.5}]
    session.log(2, 2, loss=math.inf, psnr=torch.tensor(2.5))
    assert lines(run)[1] == {"step": 2, "total": 2, "loss": None, "psnr": 2.5}


def test_progress_is_told_of_every_step(run):
    seen = []
    session = RunSession(run, progress=lambda *told: seen.append(told))
    session.log(1, None)
    session.log(2, 9, loss=1.0)
    assert seen == [(1, None, {}), (2, 9, {"loss": 1.0})]
    assert len(lines(run)) == 1


def test_a_checkpoint_comes_back_exactly(run, session):
    state = {"step": 3, "best": 0.1 + 0.2, "key": [2**63, 5], "gauss": None}
    session.save(tensors(), state)
    restored, read = resumed(run).restore()
    assert read == state
    expected = tensors()
    assert restored.keys() == expected.keys()
    for name, tensor in expected.items():
        assert restored[name].dtype == tensor.dtype
        assert torch.equal(restored[name], tensor)


def test_time_goes_on_where_the_checkpoint_was(run, session, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    session.save({}, {})
    monkeypatch.setattr(time, "monotonic", lambda: now + 100)
    assert session.seconds >= 99  # killed after this, the last 40 seconds are trained again
    again = resumed(run)
    again.restore()
    monkeypatch.setattr(time, "monotonic", lambda: now + 107)
    assert 67 <= again.seconds < 68
    fresh = RunSession(run)
    assert fresh.restore() is None
    assert fresh.seconds == 0


def test_tied_weights_are_stored(run, session):
    weight = torch.rand(3, 4)
    session.save({"encoder": weight, "decoder": weight.T}, {})
    restored, _ = resumed(run).restore()
    assert torch.equal(restored["decoder"], weight.T)


def test_the_last_checkpoint_counts_and_only_it_is_kept(run, session):
    for number in range(4):
        session.save(tensors(number), {"number": number})
    restored, state = resumed(run).restore()
    assert state == {"number": 3}
    assert torch.equal(restored["weight"], tensors(3)["weight"])
    assert len(list(run.checkpoint.iterdir())) == 2


@pytest.mark.parametrize("saved", [1, 2])
@pytest.mark.parametrize("broken", [".safetensors", ".json"])
def test_killed_while_it_saves_a_run_has_the_checkpoint_before(
    run, session, monkeypatch, saved, broken
):
    for number in range(saved):
        session.save(tensors(number), {"number": number})
    write = atomic.write_bytes

    def killed(path, content, mode=0o644):
        if path.suffix == broken:
            # What is left behind when a write is killed half-way.
            (path.parent / f".{path.name}.x.partial").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        write(path, content, mode)

    monkeypatch.setattr(atomic, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        session.save(tensors(9), {"number": 9})
    monkeypatch.undo()
    again = resumed(run)
    restored, state = again.restore()
    assert state == {"number": saved - 1}
    assert torch.equal(restored["weight"], tensors(saved - 1)["weight"])
    again.save(tensors(10), {"number": 10})
    assert resumed(run).restore()[1] == {"number": 10}


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(run, session, monkeypatch):
    session.save(tensors(), {"number": 0})

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_put", full)
    with pytest.raises(UserError, match="the disk is full"):
        session.save(tensors(1), {"number": 1})
    monkeypatch.undo()
    restored, state = resumed(run).restore()
    assert state == {"number": 0}
    assert torch.equal(restored["weight"], tensors()["weight"])
    assert not list(run.checkpoint.glob("*.partial"))


def test_a_log_on_a_full_disk_is_said(run, session):
    run.path.mkdir()
    run.log.symlink_to("/dev/full")
    with pytest.raises(UserError, match="the disk is full"):
        session.log(1, 2, loss=1.0)


def test_what_was_logged_after_the_checkpoint_is_cut_off(run, session):
    session.log(1, 4, loss=1.0)
    session.save(tensors(), {})
    session.log(2, 4, loss=0.5)
    with run.log.open("ab") as file:
        file.write(b'{"step": 3, "tot')  # killed half-way
    again = resumed(run)
    again.restore()
    again.log(2, 4, loss=0.25)
    assert [line["loss"] for line in lines(run)] == [1.0, 0.25]


def test_resumed_without_a_checkpoint_a_run_begins_anew(run, session):
    session.log(1, 4, loss=1.0)
    again = resumed(run)
    assert again.restore() is None
    again.log(1, 4, loss=2.0)
    assert [line["loss"] for line in lines(run)] == [2.0]


def test_not_resumed_the_log_begins_anew(run, session):
    session.log(1, 4, loss=1.0)
    session.save(tensors(), {})
    again = RunSession(run)
    assert again.restore() is None
    again.log(1, 4, loss=2.0)
    assert [line["loss"] for line in lines(run)] == [2.0]


@pytest.mark.parametrize("damage", ["state", "format", "tensors", "missing"])
def test_a_damaged_checkpoint_is_said(run, session, damage):
    session.save(tensors(), {})
    (file,) = run.checkpoint.glob("*.safetensors")
    match damage:
        case "state":
            run.checkpoint_state.write_text("{")
        case "format":
            text = run.checkpoint_state.read_text()
            run.checkpoint_state.write_text(text.replace('"format": 2', '"format": 1'))
        case "tensors":
            file.write_bytes(file.read_bytes()[:-5])
        case "missing":
            file.unlink()
    with pytest.raises(UserError, match="is damaged"):
        resumed(run).restore()


def test_a_request_to_stop_is_passed_on(session):
    assert not session.should_stop()
    session.request_stop()
    assert session.should_stop()


@pytest.mark.parametrize("processes", [1, 2])
def test_reading_a_property_starts_no_process(run, monkeypatch, processes):
    started = []

    class Others:
        def __init__(self, count):
            started.append(count)

        def meet(self, backend):
            started.append(backend)

    monkeypatch.setattr("challenge.submissions.runs.session.Processes", Others)
    monkeypatch.setattr(Fabric, "launch", lambda self: started.append(self))
    session = RunSession(run, device="cpu", processes=processes)
    assert session.fabric.device == torch.device("cpu")
    assert started == []
    session.launch()
    assert started == ([2, "gloo", session.fabric] if processes > 1 else [])


def test_a_session_that_needs_no_fabric_imports_no_lightning():
    code = (
        "import sys; from pathlib import Path\n"
        "from challenge.submissions.layout import Run\n"
        "from challenge.submissions.runs.session import RunSession\n"
        "RunSession(Run(Path('x'))).launch()\n"
        "print('lightning_fabric' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_fabric_is_on_the_device_and_silent(run, capfd, monkeypatch):
    # Inside a job of a cluster it is still one process of its own.
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    session = RunSession(run, device="cpu", precision="bf16")
    session.launch()
    assert session.fabric.device == torch.device("cpu")
    assert session.fabric.world_size == 1
    assert session.fabric is session.fabric
    model, optimiser = session.fabric.setup(
        torch.nn.Linear(2, 2), torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    )
    session.fabric.backward(model(torch.ones(1, 2)).sum())
    optimiser.step()
    assert capfd.readouterr() == ("", "")


class Looking(torch.nn.Module):
    """A convolution of an image that is told apart from its neighbours in float32 alone."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(1, 1, 1, bias=False)
        self.seen = []

    def forward(self, x, y, physics):
        noise = self.net(y)
        self.seen = [x, y, noise]
        return (y - noise.float() * 0 - x).square().mean()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_only_networks_compute_in_16_bits(run, precision):
    session = RunSession(run, device="cpu", precision=precision)
    session.launch()
    model = session.fabric.setup_module(Looking())
    x = torch.full((1, 1, 4, 4), 0.8)
    y = x + 1e-4  # less than bfloat16's step there, 0.004
    loss = model(x, y, None)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1e-8, rel=1e-2)
    images, measured, noise = model.module.seen
    assert torch.equal(images, x) and torch.equal(measured, y)
    assert noise.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    session.fabric.backward(loss)
    assert model.module.net.weight.grad.dtype == torch.float32


def test_the_module_is_free_of_torch():
    code = "import sys, challenge.submissions.runs.session; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
