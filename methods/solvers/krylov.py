"""Extreme eigenvalues from products alone: Arnoldi's basis of the Krylov space of a few products.

    span{v, M v, M^2 v, ...} = span Q,   Q^T Q = 1,   M Q = Q H + residual

The eigenvalues of the small H, Ritz values, are those of M on this space: for a symmetric M they
lie within its spectrum, and the outer ones come close to its ends at once (Lanczos). Power
iteration is the last vector of the same space, and needs many more products.

Arnoldi 1951; Lanczos 1950; Saad, Numerical Methods for Large Eigenvalue Problems, 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""M v of every image by itself, (B, ...) to (B, ...)."""

LOST = 1e-6
"""A new direction shorter than this share of the product is rounding: the space is complete."""


@dataclass(frozen=True)
class Krylov:
    """The space of every image, in double precision."""

    basis: Tensor
    """Q, shape (B, m, N); rows of a complete space are zero behind its last one."""
    small: Tensor
    """H, shape (B, m, m)."""
    rest: Tensor
    """What the last product has outside the space, its length, shape (B,)."""

    def ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the symmetric part of H.

        Returns:
            The least and the largest eigenvalue, shape (B,) each, and the unit vector of the
            largest, shape (B, N).
        """
        values, vectors = torch.linalg.eigh((self.small + self.small.mT) / 2)
        found = torch.einsum("bmn,bmk->bkn", self.basis, vectors)
        # Behind a complete space H is padded with zeros, whose vectors are none of the space.
        real = found.norm(dim=2) > 0.5
        largest, place = torch.where(real, values, -math.inf).max(1)
        v = found[torch.arange(len(place), device=place.device), place]
        least = torch.where(real, values, math.inf).amin(1)
        return least, largest, v / v.norm(dim=1, keepdim=True)


def krylov(product: Product, start: Tensor, steps: int) -> Krylov:
    """Arnoldi's iteration of every image, orthogonalised twice.

    Args:
        product: M v; linear, image by image.
        start: v, shape (B, ...), not 0.
        steps: products; the space has so many dimensions at most.
    """
    v = start.detach().flatten(1).double()
    count = min(steps, v.shape[1])
    basis = v.new_zeros(len(v), count, v.shape[1])
    small = v.new_zeros(len(v), count + 1, count)
    v = v / v.norm(dim=1, keepdim=True)
    for k in range(count):
        basis[:, k] = v
        image = basis[:, k].to(start.dtype).reshape(start.shape)
        w = product(image).detach().flatten(1).double()
        length = w.norm(dim=1, keepdim=True)
        for _ in range(2):
            share = torch.einsum("bmn,bn->bm", basis, w)
            w = w - torch.einsum("bmn,bm->bn", basis, share)
            small[:, :count, k] += share
        left = w.norm(dim=1, keepdim=True)
        complete = left <= LOST * length.clamp_min(torch.finfo(v.dtype).tiny)
        left = torch.where(complete, 0.0, left)
        v = torch.where(complete, 0.0, w / left.clamp_min(torch.finfo(v.dtype).tiny))
        small[:, k + 1, k] = left[:, 0]
    return Krylov(basis, small[:, :count], small[:, count, count - 1])
