"""ADMM for total-variation deblurring with a circular boundary: one pair of FFTs an iteration.

    min_{x,d} 1/2 ||A x - y||^2 + weight sum_ij |d_ij|   subject to   d = D x

    x <- (A^T A + rho D^T D)^-1 (A^T y + rho D^T (d - u))
    v <- u + alpha D x + (1 - alpha) d,   d <- shrink(v, weight / rho),   u <- v - d

Here D takes *periodic* differences, so that the first step is a division in the Fourier domain;
the differences across the wrap are left out of the norm, their d is free and their u is 0. That
is total variation with a Neumann boundary, exactly, although every step is periodic.
Goldstein, Osher 2009 (split Bregman); Wang, Yang, Yin, Zhang 2008; over-relaxation alpha:
Eckstein, Bertsekas 1992.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from challenge.methods.transforms.differences import laplacian

THRESHOLD = 0.08
"""weight / rho, in units of the image range: differences below it are taken for noise at first.
The fastest or nearly so over motion, Gaussian and uniform blurs, for weights of 3e-4 to 0.02."""
RELAXATION = 1.8


def admm(
    y: Tensor, transfer: Tensor, weight: Tensor, *, coupled: bool
) -> Iterator[tuple[Tensor, Callable[[], tuple[None, Tensor]]]]:
    """Iterate for ever; the caller takes as many steps as it wants.

    Args:
        y: measurements, shape (B, C, H, W).
        transfer: transfer function of the blur on the grid of `rfft2`, complex,
            (1 | B, 1 | C, H, W // 2 + 1).
        weight: of total variation, > 0, shape (1 | B, 1, 1, 1).
        coupled: whether the norm goes over all colours.

    Yields:
        x, shape (B, C, H, W), and a function that gives the dual point (q, p) of this step for
        `gap`: None for q, which is A x - y here, and a field p of shape (2, B, C, H, W), of
        magnitude at most `weight`. Both are valid until the next step.
    """
    height, width = size = y.shape[-2:]
    rho = weight / THRESHOLD
    curvature = transfer.abs().square() + rho * laplacian(height, width, y)
    inverse = 1 / curvature.clamp_min(torch.finfo(y.dtype).tiny)
    constant = transfer.conj() * torch.fft.rfft2(y) * inverse
    inverse = rho * inverse

    # The only state is v (its shrinkage d = (1 - s) v and the dual u = s v follow from it) and
    # the free differences across the wrap, kept apart: v is 0 there.
    v = y.new_zeros((2, *y.shape))
    wrap_rows, wrap_columns = y.new_zeros(y[..., :1, :].shape), y.new_zeros(y[..., :1].shape)
    s = torch.ones_like(y[:, :1] if coupled else y)
    field, right, factor = torch.empty_like(v), torch.empty_like(y), torch.empty_like(s)

    while True:
        # field = d - u = (1 - 2 s) v, and d itself where it is free
        torch.mul(v, torch.mul(s, -2, out=factor).add_(1), out=field)
        field[0, ..., -1:, :] = wrap_rows
        field[1, ..., -1:] = wrap_columns
        # right = D^T field, periodic
        torch.sub(field[0, ..., :-1, :], field[0, ..., 1:, :], out=right[..., 1:, :])
        torch.sub(field[0, ..., -1:, :], field[0, ..., :1, :], out=right[..., :1, :])
        right.sub_(field[1])
        right[..., 1:] += field[1, ..., :-1]
        right[..., :1] += field[1, ..., -1:]

        x = torch.fft.irfft2(torch.fft.rfft2(right).mul_(inverse).add_(constant), s=size)

        # v <- u + alpha D x + (1 - alpha) d = (1 - alpha + alpha s) v + alpha D x
        v.mul_(torch.mul(s, RELAXATION, out=factor).add_(1 - RELAXATION))
        v[0, ..., :-1, :].add_(x[..., 1:, :], alpha=RELAXATION)
        v[0, ..., :-1, :].sub_(x[..., :-1, :], alpha=RELAXATION)
        v[1, ..., :-1].add_(x[..., 1:], alpha=RELAXATION)
        v[1, ..., :-1].sub_(x[..., :-1], alpha=RELAXATION)
        wrap_rows.lerp_(x[..., :1, :] - x[..., -1:, :], RELAXATION)
        wrap_columns.lerp_(x[..., :1] - x[..., -1:], RELAXATION)

        # s = min(1, threshold / |v|): u = s v is the projection of v
        squared = torch.mul(v[0], v[0], out=right).addcmul_(v[1], v[1])
        if coupled:
            torch.sum(squared, 1, keepdim=True, out=s)
        else:
            s.copy_(squared)
        s.rsqrt_().mul_(THRESHOLD).clamp_(max=1)
        yield x, lambda: (None, rho * s * v)
