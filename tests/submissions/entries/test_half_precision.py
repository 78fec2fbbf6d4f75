"""Which tensors are rounded to half precision, to what, and how many bytes that saves."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from challenge.cli.shared import completion
from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.entries import half_precision, manifest
from challenge.submissions.entries.manifest import Half
from challenge.submissions.entries.pack import pack
from challenge.submissions.inference.loading import load_folder
from challenge.submissions.layout import MANIFEST, Run, baselines

ROUNDED = {
    "kernel": torch.randn(8, 3, 3, 3),
    "matrix": torch.randn(5, 4),
    "precise": torch.randn(5, 4, dtype=torch.float64),
    "long": torch.randn(half_precision.VECTOR + 1),
    "grid": torch.full((2, 1, 1), 3.1415926),
}
KEPT = {
    "scalar": torch.tensor(0.1),
    "bias": torch.randn(half_precision.VECTOR),
    "range": torch.tensor([0.0, 1e6]),  # beyond float16
    "counts": torch.arange(6).reshape(2, 3),
    "flags": torch.zeros(2, 2, dtype=torch.bool),
    "bytes": torch.zeros(2, 2, dtype=torch.uint8),
    "half": torch.randn(4, 4).half(),
    "bf16": torch.randn(4, 4).bfloat16(),
    "empty": torch.zeros(0, dtype=torch.float64),
}


@pytest.mark.parametrize("dtype", get_args(Half))
def test_kernels_are_rounded_and_small_vectors_are_not(dtype: Half, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(ROUNDED | KEPT, path)
    tensors, size = half_precision.read_tensors(path), path.stat().st_size
    half_precision.round_file(path, dtype)
    found = load_file(path)
    assert found.keys() == ROUNDED.keys() | KEPT.keys()
    for name, before in ROUNDED.items():
        assert torch.equal(found[name], before.to(getattr(torch, dtype))), name
    for name, before in KEPT.items():
        assert found[name].dtype == before.dtype and torch.equal(found[name], before), name
    # The header changes by the types' names alone.
    assert abs(size - path.stat().st_size - half_precision.saving(tensors)) < 100
    assert half_precision.saving(half_precision.read_tensors(path)) == 0
    assert half_precision.is_worth_it(tensors)
    assert not half_precision.is_worth_it(half_precision.read_tensors(path))


NET = """
import torch
from challenge.methods.contract import Method

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.gain = torch.nn.Parameter(torch.tensor(0.1))
        self.register_buffer("limits", torch.tensor([0.0, 1e6]))

    def forward(self, y, physics):
        return y + self.gain * self.net(y)
"""


@pytest.mark.parametrize("dtype", get_args(Half))
def test_a_method_loads_the_rounded_values(make_run: Callable[..., Run], dtype: Half) -> None:
    run = make_run(NET)
    before = load_folder(run.path).state_dict()
    half_precision.round_file(run.weights, dtype)
    after = load_folder(run.path).state_dict()
    half = getattr(torch, dtype)
    assert torch.equal(after["net.weight"], before["net.weight"].to(half).float())
    assert not torch.equal(after["net.weight"], before["net.weight"])
    for name in ("net.bias", "gain", "limits"):
        assert torch.equal(after[name], before[name])
    assert {each.dtype for each in after.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        ("float16", 7e4, "`w` holds 70000, the largest value of float16 is 65504"),
        ("float16", -1e30, "`w` holds 1e+30, the largest value of float16 is 65504"),
        ("bfloat16", 1e300, r"`w` holds 1e\+300, the largest value of bfloat16 is 3\.389"),
    ],
)
def test_a_value_beyond_the_type_is_refused_and_nothing_changes(
    dtype: Half, value: float, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.tensor([[1.0, value]], dtype=torch.float64)}, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=said.replace("1e+30,", r"1e\+30,")):
        half_precision.round_file(path, dtype)
    assert path.read_bytes() == before


def test_the_largest_value_of_float16_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.tensor([[65504.0, -65504.0]])}, path)
    half_precision.round_file(path, "float16")
    assert load_file(path)["w"].tolist() == [[65504.0, -65504.0]]


def test_entries_without_the_option_are_the_bytes_of_before(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    target = tmp_path / "entry.zip"
    pack(make_run(), "alpha", target, challenge, None)
    for path in (target, *baselines().values()):
        with zipfile.ZipFile(path) as file:
            content = file.read(MANIFEST)
        assert b"rounded" not in content
        assert manifest.dump(manifest.parse(content)) == content


def test_completion_knows_every_type() -> None:
    assert get_args(Half) == completion.HALVES
