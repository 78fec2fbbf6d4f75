"""The eight symmetries of the square, and means over them.

    F_8(x) = 1/8 sum_T T^-1 F(T x),   T turns and mirrors

F_8 turns with its image, F_8(T x) = T F_8(x), whatever F does; so do the means over the first one,
two and four of `ORDER`, with the T among them. A method F(y, A) of a measurement is averaged with
its operator turned alike (`turned_operator.py`); a denoiser needs none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SYMMETRIES = 8
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Their numbers: the first one, two and four are groups, which leave the sides of images alone."""


def turn(x: Tensor, which: int) -> Tensor:
    """T x: images (..., H, W) turned by `which % 4` right angles, from 4 on mirrored as well."""
    turned = torch.rot90(x, which % 4, (-2, -1))
    return turned.flip(-1) if which >= 4 else turned


def turn_back(x: Tensor, which: int) -> Tensor:
    """T^-1 x, with T of the same number as in `turn`."""
    return torch.rot90(x.flip(-1) if which >= 4 else x, -(which % 4), (-2, -1))


def averaged(turned: Callable[[int], Tensor], count: int = SYMMETRIES) -> Tensor:
    """The mean of the first `count` of `ORDER`, of what is found in turned coordinates.

    Args:
        turned: F(T x), images (B, C, H, W) or (B, C, W, H), by the number of T.
        count: 1, 2, 4 or 8.
    """
    # One after the other: eight images at once take more memory and no less time on a processor.
    first, *others = ORDER[:count]
    found = turn_back(turned(first), first)
    for which in others:
        found = found + turn_back(turned(which), which)
    return found / count
