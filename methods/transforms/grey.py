"""Grey measurements for what is made for colours: three channels that are equal.

    x_hat = 1/3 sum_c F((y, y, y), A)_c,   A on each channel,   F told of the level sqrt(3) sigma

Noise of level s in each of three channels has level s / sqrt(3) in their mean. So F sees noise of
the level that it is told in the mean of the colours, and none in their differences, which are 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deepinv.physics import Downsampling
from deepinv.physics.forward import ComposedLinearPhysics, ComposedPhysics
from torch import Tensor

from challenge.methods.transforms.structure import parts

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

COLOURS = 3
LOUDER = math.sqrt(COLOURS)
"""The level that F is told, over that of the measurement."""


def in_colours(y: Tensor, physics: LinearPhysics) -> tuple[Tensor, LinearPhysics]:
    """A grey measurement (B, 1, H', W') in equal colours, (B, 3, H', W'), and its operator."""
    return y.expand(-1, COLOURS, -1, -1), _for_colours(physics)


def in_grey(x: Tensor) -> Tensor:
    """The mean of colours: (B, 3, H, W) gives (B, 1, H, W)."""
    return x.mean(1, keepdim=True)


def _for_colours(physics: LinearPhysics) -> LinearPhysics:
    """The operator of one channel for three of them; decimation alone does not take any number."""
    steps = parts(physics)
    if not any(isinstance(each, Downsampling) for each in steps):
        return physics
    made = [
        Downsampling(img_size=(COLOURS, *each.imsize[1:]), filter=None, factor=each.factor)
        if isinstance(each, Downsampling)
        else each
        for each in steps
    ]
    together = ComposedLinearPhysics(*made) if isinstance(physics, ComposedPhysics) else made[0]
    together.noise_model = physics.noise_model
    return together
