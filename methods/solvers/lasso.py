"""The lasso with a dense dictionary: proximal gradient, plain and accelerated.

    z* = argmin_z 1/2 ||y - D z||^2 + lam ||z||_1,        L = ||D||^2, soft the prox of |.|

    ISTA     z_{k+1} = soft(z_k - D^T (D z_k - y) / L, lam / L)
    FISTA    the same from v_k = z_k + (t_{k-1} - 1) / t_k (z_k - z_{k-1})

Codes are rows: y (B, m), z (B, n), D (m, n).

Daubechies, Defrise, De Mol 2004 (ISTA); Beck, Teboulle 2009 (FISTA); O'Donoghue, Candes 2015 (FISTA
that begins anew).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from challenge.configs.errors import UserError

CHECK = 20
"""Iterations between two looks at the optimality conditions."""


class _Soft(torch.autograd.Function):
    """The composition of torch's operations has a backward pass five times as slow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        z = x - x.clamp(-threshold, threshold)
        ctx.save_for_backward(z)
        ctx.shape = threshold.shape
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        sign = ctx.saved_tensors[0].sign()
        return gradients[0] * sign.abs(), -(gradients[0] * sign).sum_to_size(ctx.shape)


def soft(x: Tensor, threshold: Tensor) -> Tensor:
    """Soft thresholding, sign(x) max(|x| - threshold, 0): the prox of threshold ||.||_1.

    torch's `softshrink` takes one number for all; this takes a tensor and has its gradient.

    Args:
        x: any shape.
        threshold: >= 0, broadcastable to `x`.
    """
    z: Tensor = _Soft.apply(x, threshold)
    return z


def lipschitz(dictionary: Tensor) -> Tensor:
    """L = ||D||^2, of the gradient of 1/2 ||y - D z||^2."""
    found: Tensor = torch.linalg.matrix_norm(dictionary, 2).square()
    return found


def objective(z: Tensor, y: Tensor, dictionary: Tensor, lam: float) -> Tensor:
    """1/2 ||y - D z||^2 + lam ||z||_1 of every row, shape (B,)."""
    return 0.5 * (y - z @ dictionary.T).square().sum(1) + lam * z.abs().sum(1)


def optimality(z: Tensor, y: Tensor, dictionary: Tensor, lam: float) -> Tensor:
    """max |z - soft(z - D^T (D z - y), lam)| of every row, shape (B,): 0 at the minimiser only.

    These are the KKT conditions: the correlation D_j^T (y - D z) of the residual is lam sign(z_j)
    where z_j is not 0, and at most lam in size elsewhere.
    """
    correlation = (y - z @ dictionary.T) @ dictionary
    return (z - soft(z + correlation, z.new_tensor(lam))).abs().amax(1)


def ista(y: Tensor, dictionary: Tensor, lam: float, iterations: int) -> Tensor:
    """The codes (B, n) after so many steps of proximal gradient from 0; 0 iterations give 0."""
    size = lipschitz(dictionary)
    z, threshold = y.new_zeros(len(y), dictionary.shape[1]), lam / size
    for _ in range(iterations):
        z = soft(z - (z @ dictionary.T - y) @ dictionary / size, threshold)
    return z


def fista(y: Tensor, dictionary: Tensor, lam: float, iterations: int) -> Tensor:
    """The codes (B, n) after so many accelerated steps from 0.

    objective(z_k) - objective(z*) <= 2 L ||z*||^2 / (k + 1)^2   (Beck, Teboulle 2009, theorem 4.4)
    """
    size = lipschitz(dictionary)
    z, threshold = y.new_zeros(len(y), dictionary.shape[1]), lam / size
    v, t = z, 1.0
    for _ in range(iterations):
        before, z = z, soft(v - (v @ dictionary.T - y) @ dictionary / size, threshold)
        after = (1 + math.sqrt(1 + 4 * t * t)) / 2
        v, t = z + (t - 1) / after * (z - before), after
    return z


def minimiser(
    y: Tensor, dictionary: Tensor, lam: float, *, tolerance: float = 1e-10, most: int = 100_000
) -> Tensor:
    """The lasso's minimiser z* of every row, in float64, shape (B, n).

    FISTA whose momentum begins anew where it points uphill (O'Donoghue, Candes 2015), which is
    linear near the minimiser; a row is finished when `optimality` <= tolerance.

    Raises:
        UserError: a row is not finished after `most` iterations.
    """
    y, dictionary = y.double(), dictionary.double()
    size = lipschitz(dictionary)
    step = torch.eye(dictionary.shape[1], dtype=y.dtype) - dictionary.T @ dictionary / size
    threshold = lam / size
    found = y.new_zeros(len(y), dictionary.shape[1])
    rows, start, z = torch.arange(len(y)), y @ dictionary / size, found
    v, t = z, y.new_ones(len(y), 1)
    for count in range(1, most + 1):
        before, z = z, soft(start + v @ step, threshold)
        uphill = ((v - z) * (z - before)).sum(1, keepdim=True) > 0
        t = torch.where(uphill, 1.0, t)
        after = (1 + (1 + 4 * t * t).sqrt()) / 2
        v, t = z + (t - 1) / after * (z - before), after
        if count % CHECK == 0:
            going = optimality(z, y[rows], dictionary, lam) > tolerance
            found[rows[~going]] = z[~going]
            rows, start, z, v, t = rows[going], start[going], z[going], v[going], t[going]
            if not len(rows):
                return found
    worst = float(optimality(z, y[rows], dictionary, lam).max())
    raise UserError.of(
        f"{len(rows)} of {len(found)} lasso problems",
        f"the largest optimality is `{worst:.2g}` after {most} iterations",
        f"give more, or a larger tolerance than `{tolerance:g}`",
    )
