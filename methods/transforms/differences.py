"""Forward differences with a Neumann boundary, their adjoint, and total variation.

    (D x)_1[i, j] = x[i+1, j] - x[i, j],  0 in the last row
    (D x)_2[i, j] = x[i, j+1] - x[i, j],  0 in the last column

    TV(x) = sum_ij |(D x)_ij|,  isotropic: one Euclidean norm over both directions

`coupled` takes the norm over the directions of all colours together (Blomgren, Chan 1998), so that
edges of the colours sit in one place; otherwise every colour has its own norm. ||D||^2 < 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def differences(x: Tensor) -> Tensor:
    """D x, shape (2, B, C, H, W), of images of shape (B, C, H, W)."""
    d = x.new_zeros((2, *x.shape))
    torch.sub(x[..., 1:, :], x[..., :-1, :], out=d[0, ..., :-1, :])
    torch.sub(x[..., 1:], x[..., :-1], out=d[1, ..., :-1])
    return d


def adjoint(p: Tensor) -> Tensor:
    """D^T p (minus the divergence), shape (B, C, H, W), of a field of shape (2, B, C, H, W).

    The last row of `p[0]` and the last column of `p[1]` are outside the range of D: not read.
    """
    rows, columns = p[0, ..., :-1, :], p[1, ..., :-1]
    x = torch.zeros_like(p[0])
    x[..., 1:, :] += rows
    x[..., :-1, :] -= rows
    x[..., 1:] += columns
    x[..., :-1] -= columns
    return x


def magnitude(d: Tensor, coupled: bool) -> Tensor:
    """Norm at every pixel: shape (B, 1, H, W) when coupled over colours, else (B, C, H, W)."""
    squared = torch.mul(d[0], d[0]).addcmul_(d[1], d[1])
    return (squared.sum(1, keepdim=True) if coupled else squared).sqrt_()


def total_variation(x: Tensor, coupled: bool) -> Tensor:
    """TV of every image, shape (B,)."""
    return magnitude(differences(x), coupled).sum((1, 2, 3))


def project(p: Tensor, radius: Tensor | float, coupled: bool) -> Tensor:
    """Project a field, in place, onto the fields of magnitude at most `radius` (> 0)."""
    return p.mul_((radius / magnitude(p, coupled)).clamp_(max=1))


def laplacian(height: int, width: int, like: Tensor) -> Tensor:
    """Spectrum of D^T D with a periodic boundary on the grid of `rfft2`, (H, W // 2 + 1)."""

    def axis(frequency: Tensor) -> Tensor:
        return 2 - 2 * torch.cos(2 * math.pi * frequency)

    rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
    return axis(rows)[:, None] + axis(columns)[None]
