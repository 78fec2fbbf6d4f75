"""The step of a data term from an image towards what was measured, with learned numbers.

    F(x) = f(x) + 1/2 <x, W x>,   f(x) = 1/2 ||A x - y||^2,   W = w sigma^2 / S

    hqs     G(x) = (A^T A + W + r)^-1 (A^T y + r x),     r = sigma^2 / E
    pgd     G(x) = (1 + s W)^-1 (x - s grad f(x)),       0 < s < 2 / ||A||^2

S is the power spectrum of images, so that for w = 1 the one fixed point of both is the Wiener
estimate: G is nonexpansive, and contracts where F is strongly convex, where it is computed in
closed form (`is_closed`). Without W (`plain`), G is the
data step of plug-and-play, whose regulariser is the denoiser alone, with r = e sigma^2 / l^2 for a
denoiser that is called at level l.

w, E, e and s are learned, as logarithms and as a share of 2 / ||A||^2, and stay in their ranges. Of
two ends each, they are interpolated in between.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms import spectrum

Algorithm = Literal["pgd", "hqs"]
PENALTY = 0.23
"""e of plug-and-play (DPIR's lambda), where it starts."""
LEVEL = 0.05
"""The error of a Wiener estimate, about, in units of the image range: E starts at its square."""


class DataStep(nn.Module):
    """G of one algorithm."""

    def __init__(self, algorithm: Algorithm, *, ends: int = 1, plain: bool = False) -> None:
        """Take the algorithm.

        Args:
            algorithm: `hqs` or `pgd`.
            ends: 1 for numbers that stay, 2 for those that change from one end to the other.
            plain: without W.
        """
        super().__init__()
        self.algorithm: Algorithm = algorithm
        self.plain = plain
        if algorithm == "hqs":
            first = -math.log(PENALTY) if plain else 2 * math.log(LEVEL)
            self.log_error = nn.Parameter(torch.full((ends,), first))
        else:
            self.length = nn.Parameter(torch.zeros(ends))
        if not plain:
            self.log_prior = nn.Parameter(torch.zeros(ends))

    def forward(
        self,
        x: Tensor,
        data: DataTerm,
        log_spectrum: Tensor,
        *,
        level: Tensor | None = None,
        share: Tensor | None = None,
    ) -> Tensor:
        """G(x), shape (B, C, H, W).

        Args:
            x: shape (B, C, H, W).
            data: f.
            log_spectrum: log S, shape (spectrum.BINS,).
            level: l of `plain`, shape (1 | B, 1, 1, 1).
            share: how far from the first end to the last, of that shape; where there are two.
        """
        anchor = None if self.plain else self._anchor(data, log_spectrum, share)
        if self.algorithm == "pgd":
            step = self.step(data, share)
            moved = x - step * data.gradient(x)
            if anchor is None:
                return moved
            found: Tensor = torch.fft.irfft2(
                torch.fft.rfft2(moved) / (1 + step * anchor), s=data.size
            )
            return found
        weight = self.weight(data, level, share)
        if anchor is None:
            return data.prox(x, weight)
        return data.inverse(data.back + weight * x, weight + anchor)

    def is_closed(self, data: DataTerm) -> bool:
        """Whether G is its closed form, so that it is nonexpansive.

        A solution by conjugate gradients that are cut off is not, and no step that was chosen by a
        power method, which knows ||A|| from below.
        """
        closed = data.factor is not None or data.sampled is not None
        return data.circular or (self.algorithm == "hqs" and closed)

    def step(self, data: DataTerm, share: Tensor | None = None) -> Tensor:
        """s of pgd, shape (1 | B, 1, 1, 1); 1 / ||A||^2 before training."""
        return 2 * torch.sigmoid(_at(self.length, share)) / data.curvature

    def weight(
        self, data: DataTerm, level: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """r of hqs, shape (1 | B, 1, 1, 1); arguments as for `forward`."""
        scale = data.sigma.square() if level is None else (data.sigma / level).square()
        return scale / _at(self.log_error, share).exp()

    def _anchor(self, data: DataTerm, log_spectrum: Tensor, share: Tensor | None) -> Tensor:
        """W on the grid of `rfft2`."""
        strength = _at(self.log_prior, share).exp() * data.sigma.square()
        return strength * spectrum.penalty(log_spectrum.to(data.y.dtype), *data.size)


def _at(ends: Tensor, share: Tensor | None) -> Tensor:
    """Between both ends, as `share` is shaped; where there is one, that."""
    if len(ends) == 1 or share is None:
        return ends[0]
    return ends[0] + share * (ends[1] - ends[0])
