"""The noise levels at which a plug-and-play iteration calls its denoiser, and their penalties.

    dpir      sigma_k = first^(1 - t) last^t,   t = (k - 1) / (K - 1)
    fixed     sigma_k = first
    learned   as dpir, but sigma_k times exp(a_k) and R_k times exp(b_k)

    R_k = max(strength sigma^2 / sigma_k^2, least),   last = sigma

for k = 1, ..., K, where sigma is the noise of the measurement. In the objective f + lambda P with
f(x) = 1/2 ||A x - y||^2 and lambda = strength sigma^2, a denoiser D(., s) that is the prox of
s^2 P is that of lambda P / R_k at every one of these pairs. Zhang et al. 2021, section 4.2.

An algorithm whose step is 1 / R needs R >= least = ||A||^2. Its pairs are right for levels up to
sigma sqrt(strength / least), which takes the place of `last`; above, P has more weight.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from challenge.methods.contract import Method
from challenge.methods.plug_and_play.denoisers import check_levels, noise_range

Kind = Literal["dpir", "fixed", "learned"]


class Passes(NamedTuple):
    """What the K passes of an iteration are given, each of shape (K, 1 | B, 1, 1, 1)."""

    levels: Tensor
    """sigma_k."""
    penalties: Tensor
    """R_k."""


class NoiseSchedule(nn.Module):
    """The schedule of the file's equations; `learned` has parameters a_k and b_k, at first 0."""

    def __init__(self, kind: Kind, count: int) -> None:
        """Take K, the number of passes."""
        super().__init__()
        self.kind, self.count = kind, count
        if kind == "learned":
            self.log_level = nn.Parameter(torch.zeros(count))
            self.log_penalty = nn.Parameter(torch.zeros(count))

    def levels(self, first: Tensor, last: Tensor) -> Tensor:
        """sigma_k without what was learned, shape (K, 1 | B, 1, 1, 1).

        Args:
            first: the level of the first pass, shape (1 | B, 1, 1, 1); at least `last` is taken.
            last: the level of the last pass, shape (1 | B, 1, 1, 1); not for `fixed`.
        """
        if self.kind == "fixed":
            return first.expand(self.count, *first.shape)
        shares = torch.ones(1) if self.count == 1 else torch.linspace(0, 1, self.count)
        t = shares.to(first).reshape(-1, 1, 1, 1, 1)
        return torch.exp((1 - t) * torch.maximum(first, last).log() + t * last.log())

    def forward(
        self,
        levels: Tensor,
        strength: Tensor,
        sigma: Tensor,
        known: tuple[float, float] | None = None,
        least: Tensor | None = None,
    ) -> Passes:
        """What the passes are given.

        Args:
            levels: from `levels`.
            strength: > 0, shape (1 | B, 1, 1, 1).
            sigma: the noise level of the measurement, shape (1 | B, 1, 1, 1).
            known: the levels that the denoiser was trained for, which learned ones do not leave.
            least: the least penalty, shape (1 | B, 1, 1, 1); None: any.
        """
        if self.kind == "learned":
            levels = levels * self.log_level.exp().reshape(-1, 1, 1, 1, 1)
            if known is not None:
                levels = levels.clamp(*known)
        penalties = strength * sigma.square() / levels.square()
        if least is not None:
            penalties = torch.maximum(penalties, least)
        if self.kind == "learned":
            penalties = penalties * self.log_penalty.exp().reshape(-1, 1, 1, 1, 1)
        return Passes(levels, penalties)


def check_schedule(denoiser: Method, kind: Kind, levels: Tensor) -> None:
    """Raise `UserError` where a schedule leaves the levels that its denoiser was trained for.

    Args:
        denoiser: which is called at these levels.
        kind: of the schedule.
        levels: of all passes, shape (K, 1 | B, 1, 1, 1).
    """
    known = noise_range(denoiser)
    if known is None:
        return
    low, high = known
    last = levels[-1]
    inside = float(last.clamp(low, high).amax())
    if kind == "fixed":
        remedy = f"give `method.level={inside:.4g}`"
    elif bool(((last >= low) & (last <= high)).all()):
        remedy = f"give `method.level={high:.4g}`"
    else:
        remedy = f"give `method.schedule=fixed method.level={inside:.4g}`"
    remedy += ", or a denoiser that was trained for these levels"
    check_levels(denoiser, float(levels.amin()), float(levels.amax()), remedy)
