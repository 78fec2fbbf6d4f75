"""The ends of the spectrum of A^T A: how convex f(x) = 1/2 ||A x - y||^2 is, and how curved.

    mu = least eigenvalue,   L = ||A||^2 = largest eigenvalue

A circular blur has the eigenvalues |h|^2, a mask m^2, also one of frequencies, and an operator with
fewer measurements than pixels has mu = 0. All else is measured by Lanczos, which gives a mu that is
not too small and an L that is not too large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from deepinv.physics import MRI, Denoising, Inpainting
from torch import Tensor

from challenge.methods.solvers.krylov import krylov
from challenge.methods.transforms.structure import (
    decimation,
    is_circular,
    mask_of,
    transfer_function,
)

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

STEPS = 30


class Curvature(NamedTuple):
    """Of one operator."""

    mu: float
    largest: float
    exact: bool
    """Whether both are known in closed form."""


@torch.no_grad()
def curvature(physics: LinearPhysics, x: Tensor, seed: int = 0) -> Curvature:
    """mu and L of an operator.

    Args:
        physics: of one image.
        x: an image, shape (1, C, H, W); its values do not matter.
        seed: of the direction in which Lanczos begins.
    """
    if isinstance(physics, Denoising):
        return Curvature(1.0, 1.0, True)
    if is_circular(physics):
        h = transfer_function(physics, *x.shape[-2:])
        gain = torch.ones(1) if h is None else h.abs().square()
        return Curvature(float(gain.min()), float(gain.max()), True)
    if isinstance(physics, Inpainting | MRI):
        gain = mask_of(physics).square()
        return Curvature(float(gain.min()), float(gain.max()), True)
    factor = decimation(physics)
    h = transfer_function(physics, *x.shape[-2:])
    if factor is not None and h is not None:
        # Of the aliases of a frequency, A A^T has the mean of |h|^2 as its eigenvalue.
        full = torch.fft.fft2(torch.fft.irfft2(h, s=x.shape[-2:])).abs().square()
        tall, wide = (side // factor for side in x.shape[-2:])
        blocks = full.reshape(*full.shape[:2], factor, tall, factor, wide).mean((2, 4))
        return Curvature(0.0, float(blocks.max()), True)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(x.shape, generator=generator).to(x)
    least, largest, _ = krylov(lambda v: physics.A_adjoint(physics.A(v)), start, STEPS).ends()
    wide = physics.A(x).numel() < x.numel()
    mu = 0.0 if wide else max(float(least), 0.0)
    return Curvature(mu, float(largest), False)
