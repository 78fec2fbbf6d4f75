"""The inference process, in this process where that is enough, else spawned as the judge does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Hidden
from challenge.data.physics import measurements
from challenge.data.physics.measurements import of_blur
from challenge.methods.contract import Method
from challenge.submissions.entries import archive
from challenge.submissions.inference import runner, supervisor
from challenge.submissions.jail import levels
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.spawn import Jail

Y = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
MEASUREMENT = measurements.to_bytes(
    of_blur("0001", Y, np.ones((1, 1), np.float32), 0.1, "circular", (3, 16, 16))
)


class Made(Method):
    """Whatever a function makes of y."""

    def __init__(self, make: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, y, physics):
        return self.make(y)


@pytest.mark.parametrize(
    ("make", "dtype", "shape", "bytes_sent"),
    [
        (lambda y: y, "float32", [1, 3, 16, 16], Y.nbytes),
        (lambda y: y.mT, "float32", [1, 3, 16, 16], Y.nbytes),
        (lambda y: y.double(), "float64", [1, 3, 16, 16], 0),
        (lambda y: y.half(), "float16", [1, 3, 16, 16], 0),
        (lambda y: y.bfloat16(), "bfloat16", [1, 3, 16, 16], 0),
        (lambda y: y[0], "float32", [3, 16, 16], 0),
        (lambda y: y.to("meta")[:, :, :8], "float32", [1, 3, 8, 16], 0),
        (lambda y: y.repeat(10_000, 1, 1, 1), "float32", [10_000, 3, 16, 16], 0),
    ],
)
def test_what_came_out_is_described(make, dtype, shape, bytes_sent) -> None:
    described, content = runner.estimate(Made(make), MEASUREMENT)
    assert described == {"kind": "estimate", "type": "Tensor", "dtype": dtype, "shape": shape}
    assert len(content) == bytes_sent


def test_the_floats_are_those_of_the_tensor() -> None:
    _, content = runner.estimate(Made(lambda y: y.mT), MEASUREMENT)
    sent = np.frombuffer(content, np.float32).reshape(3, 16, 16)
    np.testing.assert_array_equal(sent, Y.transpose(0, 2, 1))


@pytest.mark.parametrize("made", [None, (1, 2), np.zeros(3), {"x": 1}])
def test_what_is_no_tensor(made: object) -> None:
    described, content = runner.estimate(Made(lambda y: made), MEASUREMENT)
    assert described == {"kind": "estimate", "type": type(made).__name__}
    assert content == b""


def test_forward_runs_without_gradient_but_may_have_one_inside() -> None:
    seen = {}

    def make(y):
        seen["grad"] = torch.is_grad_enabled()
        seen["inference"] = torch.is_inference_mode_enabled()
        with torch.enable_grad():
            x = y.clone().requires_grad_()
            (gradient,) = torch.autograd.grad((x**2).sum(), x)
        return gradient

    method = Made(make).train()
    runner.estimate(method, MEASUREMENT)
    assert seen == {"grad": False, "inference": False}
    assert not method.training


def test_random_numbers_depend_on_the_image_alone() -> None:
    def draw(identity: str) -> tuple[float, ...]:
        runner.reseed(identity)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first = draw("0001")
    assert draw("0002") != first
    assert draw("0001") == first


NOISY = """
import os, sys, torch
from challenge.methods.contract import Method

print("threads", torch.get_num_threads(), "cuda", torch.cuda.is_available())
print("compiler", "torch._dynamo" in sys.modules)

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, y, physics):
        self.seen += 1
        assert sys.stdin.read() == ""
        os.write(1, b"garbage on fd 1\\n")
        return y + torch.randn_like(y) / 100
"""


@pytest.mark.parametrize(
    "level",
    [
        pytest.param(level, marks=[pytest.mark.slow] if level == "process" else [])
        for level in levels.LEVELS
    ],
)
def test_a_real_entry_in_its_own_process(
    make_entry: Callable[..., Path],
    challenge: Challenge,
    hidden: Hidden,
    tmp_path: Path,
    level: Level,
) -> None:
    """A second time and in the other order, the same reconstruction bit for bit."""
    if reason := probe.works(level):
        pytest.skip(reason)
    sources = [hidden.measurement(each) for each in hidden.ids()]
    archive.extract(make_entry(NOISY), tmp_path / "entry")
    made: list[tuple[str, bytes]] = []
    found = supervisor.infer(
        tmp_path / "entry",
        sources + sources[::-1],
        tmp_path / "output",
        challenge.config.limits,
        Jail(level, supervisor.RUNNER),
        progress=lambda step: made.append(
            (step.id, (tmp_path / "output" / f"{step.id}.npy").read_bytes())
        ),
        contract={"channels": 3, "boundary": "circular", "operator": "blur", "noise": None},
    )
    assert found.outcome == "ok", found
    assert "threads 1 cuda False\ncompiler False\n" in found.log
    assert found.log.count("garbage on fd 1\n") >= 6
    assert 0.5 < found.cpu < 60
    assert 100e6 < found.memory < 2e9
    assert [identity for identity, _ in made[:3]] == hidden.ids()
    assert made == made[::-1]
    # Noise makes batch 1 differ from batch n: the contract test says so.
    assert any("batch" in rule for rule in found.broken), found.broken


def test_an_entry_that_cannot_be_built(
    make_entry: Callable[..., Path], mine: str, challenge: Challenge, hidden: Hidden, tmp_path: Path
) -> None:
    archive.extract(make_entry(), tmp_path / "entry")
    method = tmp_path / "entry" / "plugin" / "method.py"
    method.write_text(mine.replace("gain: float = 1.0", "gain: float"))
    sources = [hidden.measurement("0001")]
    limits = challenge.config.limits
    found = supervisor.infer(
        tmp_path / "entry", sources, tmp_path / "output", limits, Jail("process", supervisor.RUNNER)
    )
    assert found.outcome == "import_error", found
    assert "`method.gain`" in found.cause
    assert "Traceback" in found.log
