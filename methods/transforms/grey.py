"""Grey measurements for what is made for colours: noise that is missing between colours is added.

    x_hat = 1/3 sum_c F(y', A)_c,   y'_c = y + n_c - 1/3 sum_k n_k,   n_c ~ N(0, 3 sigma^2) white,
    A on each channel,   F told of the level sqrt(3) sigma

Of noise of variance sigma^2 in y, that of y' has the covariance between colours

    sigma^2 1 1^T + 3 sigma^2 (I - 1 1^T / 3) = 3 sigma^2 I:

white, and of the level that F is told, as in every measurement in colours. The mean of the colours
of y' is y, so that nothing is lost. Without n all colours would be equal, and a network that has
learned that noise differs between them takes it for the image.

For noise that depends on the image, sigma is its level in the mean, and this holds in the mean.
n is the same for every image of a batch and at every call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from deepinv.physics import Downsampling
from deepinv.physics.forward import ComposedLinearPhysics, ComposedPhysics
from torch import Tensor

from challenge.data import noise
from challenge.methods.transforms.structure import parts

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

COLOURS = 3
SEED = 0
"""Of the noise that is added; its name keeps it apart from all that others draw."""


def in_colours(
    y: Tensor, physics: LinearPhysics, level: Tensor
) -> tuple[Tensor, LinearPhysics, Tensor]:
    """A grey measurement in colours whose mean it is, its operator and the level of its noise.

    Args:
        y: measurements, shape (B, 1, H', W').
        physics: the operator.
        level: noise level sigma, shape (1 | B, 1, 1, 1).

    Returns:
        y' of shape (B, 3, H', W'), the operator of three channels, and sqrt(3) sigma.
    """
    louder = math.sqrt(COLOURS) * level
    generator = noise.generator(SEED, "noise between colours")
    drawn = generator.standard_normal((1, COLOURS, *y.shape[2:]), dtype=np.float32)
    white = torch.from_numpy(drawn).to(y)
    return y + louder * (white - white.mean(1, keepdim=True)), _for_colours(physics), louder


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
