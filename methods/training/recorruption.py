"""Two measurements of one: independent of each other, each of the same mean.

    gaussian            y_1 = y + a sigma w,            y_2 = y - sigma w / a,      w ~ N(0, I)
    poisson             y_1 = gain z_1 / (1 - p),       y_2 = gain (z - z_1) / p,
                        z_1 ~ Binomial(z, 1 - p),       z = y / gain,   p = a^2 / (1 + a^2)
    poisson_gaussian    as Gaussian noise of the variance sigma^2 + gain u,   u an estimate of A x

y_1 is noise of the same kind with 1 + a^2 times the variance, y_2 has 1 + 1 / a^2 times. What is
made of y_1 alone, f, is independent of y_2, hence E ||f - y_2||^2 = ||f - A x||^2 + const: two f
are compared without knowing x, and without the divergence that `sure.py` needs. The first two are
exact, the third one as far as its variance is known. Pang, Zheng, Quan, Ji 2021; Oliveira, Lei,
Tibshirani 2022 (Poisson, the comparison); Monroy, Bacca, Tachella 2025.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from deepinv.physics import GaussianNoise, PoissonGaussianNoise, PoissonNoise
from torch import Tensor

from challenge.methods.transforms.structure import measured_share

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from deepinv.physics.noise import NoiseModel

A2 = 0.5
"""a^2: y_1 has 1.5 times the variance of y, y_2 three times."""


def levels(noise: NoiseModel, like: Tensor) -> tuple[Tensor, Tensor]:
    """gain and sigma of a noise model, each (1 | B, 1, 1, 1), 0 where it has none."""
    gain, sigma = (
        getattr(noise, name, like.new_zeros(1)).to(like).reshape(-1, 1, 1, 1)
        for name in ("gain", "sigma")
    )
    return gain, sigma


def noise_variance(noise: NoiseModel, clean: Tensor) -> Tensor:
    """sigma^2 + gain u of every number, for u = A x of shape (B, C, H', W')."""
    gain, sigma = levels(noise, clean)
    return sigma.square() + gain * clean.clamp_min(0)


def split(
    y: Tensor, physics: LinearPhysics, clean: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """y_1 and y_2, each of the shape of `y`.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator with the noise of `y`.
        clean: an estimate of A x, of the shape of `y`; Poisson-Gaussian noise alone asks for it.
        generator: on the processor, of the only random numbers.
    """
    gain, _ = levels(physics.noise_model, y)
    if isinstance(physics.noise_model, PoissonNoise):
        share = 1 / (1 + A2)
        counts = (y / gain).round().clamp_min(0).cpu()
        kept = torch.binomial(counts, torch.full_like(counts, share), generator=generator)
        kept, counts = kept.to(y), counts.to(y)
        return gain * kept / share, gain * (counts - kept) / (1 - share)
    deviation = noise_variance(physics.noise_model, clean).sqrt()
    w = torch.randn(y.shape, generator=generator).to(y)
    away = deviation * w * measured_share(physics)
    return y + A2**0.5 * away, y - away / A2**0.5


def noisier(physics: LinearPhysics) -> LinearPhysics:
    """A copy of the operator with the noise of y_1."""
    found = copy.deepcopy(physics)
    noise, more = physics.noise_model, 1 + A2
    if isinstance(noise, PoissonGaussianNoise):
        found.noise_model = PoissonGaussianNoise(
            gain=more * noise.gain, sigma=more**0.5 * noise.sigma, clip_positive=True
        )
    elif isinstance(noise, PoissonNoise):
        found.noise_model = PoissonNoise(gain=more * noise.gain, clip_positive=True)
    else:
        found.noise_model = GaussianNoise(sigma=more**0.5 * noise.sigma)
    return found
