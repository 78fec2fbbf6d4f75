"""The noise levels of a sampler, from the highest to the lowest, and the noise that it draws.

    sigma_k = (high^(1/rho) + (k - 1) / (K - 1) (low^(1/rho) - high^(1/rho)))^rho,   sigma_{K+1} = 0

for k = 1, ..., K (Karras, Aittala, Aila, Laine 2022, equation 5); a large rho spends more of the
steps at low levels, and rho to infinity makes them equally spaced on a log scale.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from challenge.data import noise

RHO = 7.0
"""Karras et al.'s choice."""

Noise = Callable[[int], Tensor]
"""Standard normal noise of a step of a sampler; the same whenever it is asked for."""


def levels(high: Tensor, low: Tensor, count: int, rho: float = RHO) -> Tensor:
    """sigma_1, ..., sigma_K without the 0 at the end, shape (K, ...).

    Args:
        high: the highest level, > 0, any shape.
        low: the lowest level, > 0, of a shape that broadcasts with `high`.
        count: K; a single level is the highest.
        rho: > 0.
    """
    shares = torch.ones(1) * 0 if count == 1 else torch.linspace(0, 1, count)
    t = shares.to(high).reshape(-1, *([1] * max(high.dim(), low.dim())))
    return ((1 - t) * high ** (1 / rho) + t * low ** (1 / rho)) ** rho


def drawn(seed: int, draw: int, like: Tensor) -> Noise:
    """The noise of one draw: a function of seed, draw and step alone.

    All images of a batch get the same, so that an image's sample depends neither on the batch nor
    on the order of images. Samples of two images are not independent of each other; two draws of
    one image are.

    Args:
        seed: a whole number of 63 bits, 0 included.
        draw: from 0.
        like: of the shape (B, C, H, W) and on the device of the noise.
    """
    key = seed.to_bytes(8, "big", signed=True)
    shape = tuple(like.shape[1:])

    def step(number: int) -> Tensor:
        found = torch.from_numpy(noise.normal(key, f"draw {draw}", number, shape))
        return found.to(like).expand_as(like)

    return step
