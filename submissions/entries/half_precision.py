"""Weights in half precision: which tensors are rounded, what that saves, the rounded file.

Rounded are kernels and matrices, and vectors that are longer than a layer is wide. Scalars and
shorter vectors stay as they are: biases, steps, statistics, and what a method notes about itself,
such as the noise levels it was trained for. They are no part of the size, and some have values
beyond float16's range. Tensors of two bytes or fewer a value stay too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.submissions.entries.manifest import Half
from challenge.submissions.entries.weights import NotSafetensors, Stored, read_header

if TYPE_CHECKING:
    from torch import Tensor

VECTOR = 4096
"""Values of the longest vector that is kept: no layer has more channels."""
WORTH = 0.01
"""Of the bytes: where rounding saves less, there is nothing to round."""
STATED = 300
"""More bytes than the manifest needs to state it."""
_WIDE = {"F32", "F64"}


def saving(tensors: Sequence[Stored]) -> int:
    """Bytes that rounding saves."""
    return sum(
        each.end - each.begin - 2 * math.prod(each.shape) for each in tensors if _is_rounded(each)
    )


def read_tensors(weights: Path) -> list[Stored]:
    """The tensors of a run's weights.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with weights.open("rb") as file:
            return read_header(file, weights.stat().st_size)[0]
    except NotSafetensors as error:
        raise UserError.of(weights, str(error), "train the run again") from None


def is_worth_it(tensors: Sequence[Stored]) -> bool:
    """Whether rounding saves anything to speak of."""
    total = sum(each.end - each.begin for each in tensors)
    return saving(tensors) > WORTH * total


def round_file(weights: Path, dtype: Half) -> None:
    """Round the tensors of a file of weights, in place.

    Raises:
        UserError: a value is beyond what the type can hold; the file stays as it was.
    """
    from safetensors.torch import load, save

    rounded = {each.name for each in read_tensors(weights) if _is_rounded(each)}
    state = load(weights.read_bytes())
    for name in rounded:
        state[name] = _rounded(state[name], name, dtype)
    weights.write_bytes(save(state))


def _is_rounded(tensor: Stored) -> bool:
    return tensor.dtype in _WIDE and (len(tensor.shape) > 1 or math.prod(tensor.shape) > VECTOR)


def _rounded(tensor: Tensor, name: str, dtype: Half) -> Tensor:
    import torch

    half = tensor.to(getattr(torch, dtype))
    lost = torch.isfinite(tensor) & ~torch.isfinite(half)
    if lost.any():
        value, largest = tensor[lost].abs().max().item(), torch.finfo(half.dtype).max
        other = "give `--dtype bfloat16`, or leave it out" if dtype == "float16" else "leave it out"
        raise UserError.of(
            f"--dtype {dtype}",
            f"`{name}` holds {value:.6g}, the largest value of {dtype} is {largest:.6g}",
            other,
        )
    return half
