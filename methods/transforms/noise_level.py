"""How noisy a measurement is, as one number, whatever its noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

LOWEST = 1e-3
"""A quarter of a step of 8 bits: what divides by the level, or by its square, stays
finite where there is no noise."""


@torch.no_grad()
def noise_level(y: Tensor, physics: LinearPhysics) -> Tensor:
    """Root mean square of the noise of every image, shape (1 | B, 1, 1, 1), at least `LOWEST`.

    sigma for Gaussian noise; that of photons has the variance gain A x, whose mean over the
    image is estimated by that of gain y, over what is measured at all:

        level^2 = sigma^2 + gain mean(y)

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator, with one of deepinv's noise models: Gaussian, Poisson, both.
    """
    sigma, gain = (
        getattr(physics.noise_model, name, y.new_zeros(1)).to(y.dtype).reshape(-1, 1, 1, 1)
        for name in ("sigma", "gain")
    )
    if not hasattr(physics.noise_model, "gain"):
        return sigma.clamp_min(LOWEST)
    seen = physics.A(torch.ones_like(physics.A_adjoint(y))) > 0
    count = seen.sum((1, 2, 3), keepdim=True).clamp_min(1)
    mean = (y * seen).sum((1, 2, 3), keepdim=True) / count
    level: Tensor = (sigma.square() + gain * mean.clamp_min(0)).sqrt()
    return level.clamp_min(LOWEST)
