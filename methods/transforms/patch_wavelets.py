"""Wavelets as matrices, one vector per row: of patches, and of groups of patches.

    W = [ ... ; high_2 low_1 ; high_1 ],   low_j, high_j: filter a period, keep every second sample

Haar 1910; Cohen, Daubechies, Feauveau, Biorthogonal bases of compactly supported wavelets, 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

HAAR = (1.0, 1.0)
"""Low-pass filter of the Haar wavelet, up to a factor."""
BIOR15 = (3.0, -3.0, -22.0, 22.0, 128.0, 128.0, 22.0, -22.0, -3.0, 3.0)
"""That of the analysis with the wavelet bior1.5, up to a factor; its high-pass filter is Haar's."""


@cache
def basis(count: int, low: Sequence[float] = HAAR) -> Tensor:
    """The whole periodic transform, every row of norm 1, coarsest first: (count, count), float64.

    White noise keeps its level in every coefficient. Of Haar, the matrix is orthonormal.

    Args:
        count: samples, a power of two.
        low: low-pass filter, of even length.
    """
    high = (1.0, -1.0)
    coarse = torch.eye(count, dtype=torch.float64)
    rows: list[Tensor] = []
    while len(coarse) > 1:
        rows.insert(0, _filtered(high, len(coarse)) @ coarse)
        coarse = _filtered(low, len(coarse)) @ coarse
    found = torch.cat([coarse, *rows])
    norms: Tensor = found.norm(dim=1, keepdim=True)
    return found / norms


def _filtered(taps: Sequence[float], count: int) -> Tensor:
    """Filter `count` samples of a period and keep every second: (count / 2, count)."""
    found = torch.zeros(count // 2, count, dtype=torch.float64)
    for row in range(count // 2):
        for offset, tap in enumerate(taps, 1 - len(taps) // 2):
            found[row, (2 * row + offset) % count] += tap
    return found
