"""Which axes of an array are the rows and columns of kernels, and which one counts them.

    (h, w)                                one kernel
    (N, k, k), (k, k, N), (k, N, k)       N kernels: the only two axes of equal length are theirs
    (k, k, 1), (N, 1, k, k), ...          axes of length 1 are dropped, where what is left is clear
    (k, k, k), (N, h, w), (1, h, w), ...  refused: they could be several things

numpy writes (N, k, k), MATLAB (k, k, N), PyTorch (N, 1, k, k); nothing in a file says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rank(Enum):
    """How a variable of a file is to be taken."""

    KERNELS = auto()
    ROW = auto()
    """One row or column: a kernel, unless the file has others."""
    NOTHING = auto()
    """A single number, a text, numbers that are not real."""


@dataclass(frozen=True)
class Found:
    """What a variable holds."""

    rank: Rank
    arrays: list[NDArray[np.float64]] = field(default_factory=list)
    problem: str = ""
    """Why it cannot be taken for kernels, though it has numbers; reads on after its name."""
    told: str = ""
    """What it was taken for, where that is not plain."""
    held: str = ""
    """Its type and shape."""


def kernels(value: Any) -> Found:
    """The 2-D kernels in a variable: an array, or a list of such variables."""
    if isinstance(value, list):
        members = [kernels(member) for member in value]
        members = [each for each in members if each.rank is not Rank.NOTHING]
        if not members:
            return Found(Rank.NOTHING, held="(cell)")
        return Found(
            Rank.KERNELS,
            [array for each in members for array in each.arrays],
            next((each.problem for each in members if each.problem), ""),
            next((each.told for each in members if each.told), ""),
        )
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        shape = getattr(value, "shape", "")
        return Found(Rank.NOTHING, held=f"({getattr(value, 'dtype', 'text')} {shape})")
    if value.size < 2:
        return Found(Rank.NOTHING, held=f"({value.dtype} {value.shape})")
    array = value.astype(np.float64)
    if array.ndim == 2:
        return Found(Rank.ROW if 1 in array.shape else Rank.KERNELS, [array])
    if array.ndim < 2 or array.size == max(array.shape):
        return _row(array)
    return _stack(array)


def _row(array: NDArray[np.float64]) -> Found:
    """Numbers along one axis."""
    long = int(np.argmax(array.shape))
    before, after = long > 0, long < array.ndim - 1
    if before == after:
        shape = f"has shape {array.shape}"
        return Found(Rank.ROW, problem=f"{shape}, which may be a row (1, k) or a column (k, 1)")
    return Found(Rank.ROW, [array.reshape((1, -1) if before else (-1, 1))])


def _stack(array: NDArray[np.float64]) -> Found:
    """Three axes and more."""
    shape, long = array.shape, [axis for axis, side in enumerate(array.shape) if side > 1]
    equal = [pair for pair in combinations(long, 2) if shape[pair[0]] == shape[pair[1]]]
    adjacent = len(equal) == 1 and equal[0][1] == equal[0][0] + 1
    if len(equal) != 1 or len(long) > 3 or (len(long) == 2 and not adjacent):
        problem = f"has shape {shape}, and which axes are the rows and columns cannot be told"
        return Found(Rank.KERNELS, problem=problem)
    counting = [axis for axis in long if axis not in equal[0]]
    moved = np.moveaxis(array, equal[0], (-2, -1))
    side = shape[equal[0][0]]
    stack = moved.reshape(-1, side, side)
    usual = not counting or counting[0] < equal[0][0]
    told = f"an array of shape {shape} is taken for {len(stack)} kernels of {side}x{side}"
    return Found(Rank.KERNELS, list(stack), told="" if usual else told)
