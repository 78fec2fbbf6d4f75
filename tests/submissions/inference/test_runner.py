"""The inference process, in this process where that is enough, else spawned as the judge does."""

from __future__ import annotations

import json
import py_compile
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from challenge.configs.schema.challenge import Limits
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Hidden
from challenge.data.physics import measurements
from challenge.data.physics.measurements import of_blur
from challenge.methods.contract import Method
from challenge.submissions.entries import archive
from challenge.submissions.inference import loading, runner, supervisor
from challenge.submissions.inference.dialogue import Dialogue, Failed
from challenge.submissions.inference.messages import Message
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


class Uncertain(Made):
    """A method that gives a standard deviation."""

    def with_deviation(self, y, physics):
        return y, self.make(y)


@pytest.mark.parametrize(
    ("make", "about", "bytes_sent"),
    [
        (lambda y: y / 2, {"type": "Tensor", "dtype": "float32", "shape": [1, 3, 16, 16]}, 2),
        (lambda y: None, None, 1),
        (lambda y: y[..., :8], {"type": "Tensor", "dtype": "float32", "shape": [1, 3, 16, 8]}, 1),
        (lambda y: "s", {"type": "str"}, 1),
    ],
)
def test_a_standard_deviation_follows_the_estimate(make, about, bytes_sent) -> None:
    described, content = runner.estimate(Uncertain(make), MEASUREMENT)
    assert (described["type"], len(content)) == ("Tensor", bytes_sent * Y.nbytes)
    assert content[: Y.nbytes] == Y.tobytes()
    if about is None:
        assert "deviation" not in described
    else:
        assert {**described["deviation"], "kind": ""} == {**about, "kind": ""}


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


@pytest.fixture
def dialogue() -> Dialogue:
    unused: Any = None
    return Dialogue(unused, unused, unused, Limits(), 0.0)


class Willful(torch.Tensor):
    """Answers everything with itself; what is in it is what counts."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return args[0] if function.__name__ in ("detach", "cpu") else 5


def with_gradient(y):
    with torch.enable_grad():
        return y.clone().requires_grad_() * 1


def negated(y):
    """Imaginary part of a conjugate: a view with the negative bit."""
    made = torch.complex(torch.zeros_like(y), -y).conj().imag
    assert made.is_neg()
    return made


HONEST = {
    "negative bit": negated,
    "negative bit, in order": lambda y: torch._neg_view(-y),
    "real part of a conjugate": lambda y: torch.complex(y, y).conj().real,
    "gradient": with_gradient,
    "parameter": torch.nn.Parameter,
    "made in inference mode": lambda y: torch.inference_mode()(torch.clone)(y),
    "any order of axes": lambda y: y.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    "last channels first": lambda y: y.contiguous(memory_format=torch.channels_last),
    "backwards and back": lambda y: y.flip(-1).flip(-1),
    "every second": lambda y: y.repeat_interleave(2, -1)[..., ::2],
    "sparse": lambda y: y.to_sparse(),
    "sparse, hybrid": lambda y: y.to_sparse(2),
    "sparse, not summed up": lambda y: torch.sparse_coo_tensor(
        torch.cat([y.to_sparse().indices()] * 2, 1),
        torch.cat([y.to_sparse().values() / 2] * 2),
        y.shape,
    ),
    "sparse, by rows": lambda y: y.to_sparse_csr(),
    "MKL-DNN's own": lambda y: y.to_mkldnn(),
    "subclass": lambda y: y.as_subclass(Willful),
    "view of a complex one": lambda y: torch.view_as_real(torch.complex(y, y))[..., 0],
}
UNREADABLE = {
    "no values": lambda y: y.to("meta"),
    "nested": lambda y: torch.nested.nested_tensor([y[0]]),
    "nested, jagged": lambda y: torch.nested.nested_tensor([y[0]], layout=torch.jagged),
    "fake": lambda y: torch._subclasses.FakeTensorMode().from_tensor(y),
}
NOT_FLOAT32 = {
    "conjugate": (lambda y: torch.complex(y, y).conj(), "complex64"),
    "quantised": (lambda y: torch.quantize_per_tensor(y, 0.1, 0, torch.quint8), "quint8"),
    "bool": (lambda y: y > 0, "bool"),
    "8 bits": (lambda y: y.to(torch.float8_e4m3fn), "float8_e4m3fn"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HONEST)
def test_a_tensor_is_read_however_it_keeps_its_values(name: str) -> None:
    try:
        wanted = HONEST[name](torch.from_numpy(Y)[None])
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this torch does not make it: {error}")
    assert isinstance(wanted, torch.Tensor)
    described, content = runner.estimate(Made(HONEST[name]), MEASUREMENT)
    shape = [1, 3, 16, 16]
    assert described == {"kind": "estimate", "type": "Tensor", "dtype": "float32", "shape": shape}
    np.testing.assert_array_equal(np.frombuffer(content, np.float32).reshape(Y.shape), Y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_tensor_without_values_is_no_answer_and_no_crash(name: str, dialogue: Dialogue) -> None:
    described, content = runner.estimate(Made(UNREADABLE[name]), MEASUREMENT)
    assert content == b"" and described["type"] == "Tensor"
    header = json.loads(json.dumps(described))
    with pytest.raises(Failed, match="x_hat cannot be read: .*Error: ") as failed:
        dialogue._checked(Message(header, content), (3, 16, 16))
    assert failed.value.outcome == "bad_shape"


class Mute(torch.Tensor):
    """Refuses everything, and does not say why."""

    class Refusal(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise Mute.Refusal


def test_a_tensor_that_cannot_be_read_need_not_say_why() -> None:
    described, content = runner.estimate(Made(lambda y: Mute(y)), MEASUREMENT)
    assert (described["unreadable"], content) == ("Refusal", b"")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NOT_FLOAT32)
def test_a_tensor_of_another_type_is_described(name: str) -> None:
    make, dtype = NOT_FLOAT32[name]
    described, content = runner.estimate(Made(make), MEASUREMENT)
    assert (described["dtype"], content) == (dtype, b"")


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


@pytest.mark.parametrize("forgotten", ["", "torch", "numpy", "deepinv"])
def test_what_is_not_compiled_is_compiled_before_the_clock_runs(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One package that was installed anew is enough: every entry would compile it anew."""
    for name in loading._IMPORTED:
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text("")
        if name != forgotten:
            py_compile.compile(str(package / "__init__.py"))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    called = []
    monkeypatch.setattr(loading.subprocess, "run", lambda *_, **__: called.append(1))
    loading.compile_packages.__wrapped__()
    assert bool(called) is bool(forgotten)
