"""Fields of experts: what a bank of filters sees, under smooth potentials.

    R(x) = strength sum_k sum_j a_kj sum_p phi((f_k * x)_p; s_kj)

    convex       phi(t; s) = s^2 ((1 + t^2 / s^2)^1/2 - 1)      t / (1 + t^2 / s^2)^1/2
    non-convex   phi(t; s) = s^2 / 2 log(1 + t^2 / s^2)         t / (1 + t^2 / s^2)

and the derivative. Both are t^2 / 2 near 0 and have there their largest curvature, 1; several
widths s under positive weights a make a profile. The filters run over all colours together and
only where they lie inside the image: no boundary value is made up, a constant costs nothing, and
correlation and its transpose are an exact pair.

Roth, Black, Fields of Experts, 2005; Kunisch, Pock, A bilevel optimization approach for parameter
learning in variational models, 2013; Chen, Ranftl, Pock, Insights into analysis operator learning,
2014; Goujon et al., A neural-network-based convex regularizer for inverse problems, 2023.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from challenge.methods.transforms import spectrum
from challenge.methods.transforms.cosine import CHROMINANCE, basis

Potential = Literal["convex", "nonconvex"]


class Bank(NamedTuple):
    """A regulariser's theta: K filters, each under J potentials."""

    filters: Tensor
    """Of unit norm, without mean in any colour, shape (K, C, k, k)."""
    weights: Tensor
    """a > 0, shape (K, J)."""
    scales: Tensor
    """s > 0, shape (K, J), in units of the image range."""
    potential: Potential


def normalised(filters: Tensor) -> Tensor:
    """Filters (K, C, k, k) without their mean in every colour, of unit norm each."""
    centred = filters - filters.mean((2, 3), keepdim=True)
    norm = centred.flatten(1).norm(dim=1).clamp_min(1e-12)
    unit: Tensor = centred / norm[:, None, None, None]
    return unit


def responses(x: Tensor, filters: Tensor) -> Tensor:
    """Correlation with every filter, (B, C, H, W) -> (B, K, H - k + 1, W - k + 1)."""
    channels_last = torch.channels_last  # three times as fast on a CPU
    return F.conv2d(
        x.contiguous(memory_format=channels_last),
        filters.contiguous(memory_format=channels_last),
    )


def transposed(r: Tensor, filters: Tensor) -> Tensor:
    """The transpose of `responses`, (B, K, H - k + 1, W - k + 1) -> (B, C, H, W)."""
    return F.conv_transpose2d(r, filters)


def regulariser(x: Tensor, bank: Bank, strength: Tensor) -> tuple[Tensor, Tensor]:
    """R of every image, shape (B,), and its gradient, shape (B, C, H, W).

    Args:
        x: images, shape (B, C, H, W).
        bank: filters, weights and scales.
        strength: > 0, shape (1 | B,).
    """
    t = responses(x, bank.filters)
    square = t.square()
    value: Tensor | float = 0.0
    slope: Tensor | None = None
    for weight, scale in zip(bank.weights.T, bank.scales.T, strict=True):
        a, s2 = weight[:, None, None], scale.square()[:, None, None]
        rise = torch.mul(square, 1 / s2).add_(1)
        share = rise.rsqrt() if bank.potential == "convex" else rise.reciprocal()
        slope = a * share if slope is None else torch.addcmul(slope, a, share)
        with torch.no_grad():  # The gradient alone is differentiated further.
            if bank.potential == "convex":
                price = (rise.mul_(share) - 1).flatten(2).sum(2)
            else:
                price = rise.log().flatten(2).sum(2) / 2
            value = value + price @ (weight * scale.square())
    assert slope is not None
    gradient = transposed(slope * t, bank.filters)
    return strength * value, strength[:, None, None, None] * gradient


@torch.no_grad()
def majorant(bank: Bank, strength: Tensor, height: int, width: int) -> Tensor:
    """Circulant bound of the Hessian of R: a Hermitian matrix over the colours per frequency.

    Returns:
        strength sum_k (sum_j a_kj) f_k(w) f_k(w)^H, shape (1 | B, C, C, H, W // 2 + 1).
    """
    transfer = torch.fft.rfft2(bank.filters, s=(height, width))
    curvature = bank.weights.sum(1).to(transfer.dtype)
    gram = torch.einsum("k,kchw,kdhw->cdhw", curvature, transfer, transfer.conj())
    return strength.reshape(-1, 1, 1, 1, 1) * gram[None]


def cosine_filters(count: int, channels: int, size: int) -> Tensor:
    """Products of cosines over rows, columns and colours, shape (count, channels, size, size).

    The smallest square of cosines that has enough of them, the lowest frequencies first, in the
    middle of the filters' window. The cosine basis over three colours is brightness, red against
    blue, and green against both.
    """
    side = 2
    while (side * side - 1) * channels < count and side < size:
        side += 1
    rows, colours = basis(side).float(), basis(channels).float()
    order = sorted(
        ((i, j) for i in range(side) for j in range(side) if i or j),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair),
    )
    found = torch.zeros(count, channels, size, size)
    first = (size - side) // 2
    inside = slice(first, first + side)
    for index in range(count):
        i, j = order[(index // channels) % len(order)]
        patch = torch.outer(rows[i], rows[j])
        found[index, :, inside, inside] = colours[index % channels][:, None, None] * patch
    return found


@torch.no_grad()
def typical_response(filters: Tensor) -> Tensor:
    """Root mean square of what each filter (K, C, k, k) sees in photographs, about; shape (K,).

    Their spectrum falls as 1 / f^2, and colours have CHROMINANCE times less of it than their
    mean.
    """
    side = 64
    inverse = spectrum.penalty(spectrum.typical(), side, side)
    power = torch.where(inverse > 0, 1 / inverse, 0.0)
    power[:, 1 : side // 2] *= 2  # rfft2 shows each of these frequencies once, of two
    brightness = filters.mean(1, keepdim=True) * filters.shape[1] ** 0.5
    seen = []
    for part in (filters, brightness):
        transfer = torch.fft.rfft2(part, s=(side, side)).abs().square().sum(1)
        seen.append((transfer * power).sum((1, 2)) / side**2)
    found: Tensor = (seen[1] + (seen[0] - seen[1]).clamp_min(0) / CHROMINANCE).sqrt()
    return found
