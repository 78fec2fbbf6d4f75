"""Denoising score matching with the preconditioning and the noise distribution of EDM.

    D(x, s) = m + c_skip (x - m) + c_out F(c_in (x - m), log(s) / 4)
    c_skip = v^2 / (s^2 + v^2),   c_out = s v / sqrt(s^2 + v^2),   c_in = 1 / sqrt(s^2 + v^2)

    min_F  E (s^2 + v^2) / (s v)^2 ||D(x + s n, s) - x||^2,   log s ~ N(mean, spread^2)

m and v are mean and standard deviation of the images, so that the network F is given, and has to
give, numbers of variance 1 at every noise level. With score = (D - x) / s^2 the loss is, at every
level, that of explicit score matching times s^4 and a weight, plus a constant: its minimiser is the
score of the images with noise of that level (Vincent 2011).

Karras, Aittala, Aila, Laine 2022, table 1; Song, Ermon 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from challenge.methods.generative.guidance import Denoise

Net = Callable[[Tensor], Tensor]


def precondition(net: Net, x: Tensor, s: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """D(x, s), shape (B, C, H, W).

    Args:
        net: F, of images with one more channel, log(s) / 4.
        x: noisy images, shape (B, C, H, W).
        s: noise level > 0, shape (1 | B, 1, 1, 1).
        mean: m, shape (1, C | 1, 1, 1).
        spread: v > 0, a scalar.
    """
    total = (s.square() + spread.square()).sqrt()
    centred = x - mean
    level = (s.log() / 4).expand(len(x), 1, *x.shape[-2:])
    found = net(torch.cat([centred / total, level], dim=1)).to(x.dtype)
    return mean + (spread / total).square() * centred + s * spread / total * found


def draw_levels(
    count: int, log_mean: float, log_spread: float, ends: tuple[float, float], like: Tensor
) -> Tensor:
    """Noise levels of the log-normal distribution, held to a range, shape (count, 1, 1, 1).

    Args:
        count: of images.
        log_mean: of log s.
        log_spread: its standard deviation.
        ends: the lowest and the highest level.
        like: of the device and type wanted.
    """
    normal = torch.randn(count, 1, 1, 1, dtype=like.dtype, device=like.device)
    return (log_mean + log_spread * normal).exp().clamp(*ends)


def denoising_error(denoise: Denoise, x: Tensor, noise: Tensor, s: Tensor) -> Tensor:
    """||D(x + s n, s) - x||^2 / d of every image with d values, shape (B,).

    Args:
        denoise: D.
        x: images, shape (B, C, H, W).
        noise: n, of the same shape.
        s: levels, shape (1 | B, 1, 1, 1).
    """
    return (denoise(x + s * noise, s) - x).square().mean((1, 2, 3))


def weight(s: Tensor, spread: Tensor) -> Tensor:
    """(s^2 + v^2) / (s v)^2, by which every level counts alike at the beginning, shape (1 | B,)."""
    return ((s.square() + spread.square()) / (s * spread).square()).flatten()
