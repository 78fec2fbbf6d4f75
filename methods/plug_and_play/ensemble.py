"""A denoiser averaged over the eight turned and mirrored copies of an image.

    D_8(x) = 1/8 sum_T T^-1 D(T x),   T one of the symmetries of the square

D_8 turns with its image, D_8(T x) = T D_8(x), whatever D does. A plug-and-play iteration then does
so too when its operator is turned with the measurement, A -> A T^-1, since its data step is the
same in turned coordinates: prox_{f T^-1}(T v) = T prox_f(v). So the operator need not be turned,
which a grid of large pixels or a mask drawn at random could not always be.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SYMMETRIES = 8


def turn(x: Tensor, which: int) -> Tensor:
    """T x: images (..., H, W) turned by `which % 4` right angles, from 4 on mirrored as well."""
    turned = torch.rot90(x, which % 4, (-2, -1))
    return turned.flip(-1) if which >= 4 else turned


def turn_back(x: Tensor, which: int) -> Tensor:
    """T^-1 x, with T of the same number as in `turn`."""
    return torch.rot90(x.flip(-1) if which >= 4 else x, -(which % 4), (-2, -1))


def averaged(denoiser: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """D_8(x) of images (B, C, H, W)."""
    found = torch.zeros_like(x)
    # One after the other: eight images at once take more memory and no less time on a processor.
    for which in range(SYMMETRIES):
        found = found + turn_back(denoiser(turn(x, which)), which)
    return found / SYMMETRIES
