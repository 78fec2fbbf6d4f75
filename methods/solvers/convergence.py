"""How an iteration behaves: the lengths of its steps with a fitted rate, whether values fall.

    r_k = ||x_{k+1} - x_k||_rms          in units of the image range

    linear       r_k = c q^k             q is the rate of a step; above 1 it diverges
    sublinear    r_k = c k^-p

Both laws are straight lines, of log r over k and over log k. The second half of the steps decides
between them, as the theorems speak of the end, and steps of the length of rounding are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

ROUNDING = 3e-7
"""Steps of at most so much are float32's, for images in [0, 1]."""
AMPLIFIED = 10
"""By how much a map that is not contractive keeps rounding longer, at most."""
LEAST = 5
"""Steps that a law is fitted to, at least."""
SLACK = 1e-6
"""By which a value may rise, relatively, because of rounding."""


@dataclass(frozen=True)
class Rate:
    """The law of the last steps."""

    law: Literal["linear", "sublinear"]
    value: float
    """q of a linear law, p of a sublinear one."""
    error: float
    """Root mean square of what the law leaves of log r_k."""

    @property
    def diverges(self) -> bool:
        """Whether the steps grow."""
        return self.value > 1 if self.law == "linear" else self.value < 0


@dataclass(frozen=True)
class Trace:
    """An iteration of one image."""

    steps: tuple[float, ...]
    """r_k, in units of the image range."""
    last: Tensor
    """The last iterate, shape (1, C, H, W)."""

    @property
    def rate(self) -> Rate | None:
        """See `fit`."""
        return fit(self.steps)

    @property
    def contraction(self) -> float | None:
        """The largest r_{k+1} / r_k: a lower bound of the Lipschitz constant of a fixed map."""
        pairs = [pair for pair in pairwise(self.steps) if min(pair) > 100 * ROUNDING]
        return max((after / before for before, after in pairs), default=None)


@torch.no_grad()
def trace(iterates: Iterable[Tensor], count: int) -> Trace:
    """Follow an iteration of one image for at most so many iterates.

    Args:
        iterates: x_0, x_1, ..., each of shape (1, C, H, W). It ends where one is not finite.
        count: steps, one or more.
    """
    steps = []
    last: Tensor | None = None
    for x in islice(iterates, count + 1):
        if last is not None:
            length = float((x - last).double().square().mean().sqrt())
            steps.append(length)
            if not math.isfinite(length):
                break
        last = x.detach()
    assert last is not None
    return Trace(tuple(steps), last)


def fit(steps: Sequence[float]) -> Rate | None:
    """The law that the second half of the steps follows better; None where there are too few.

    Args:
        steps: r_1, r_2, ...; where all of the end is rounding, the part before it decides.
    """
    number = np.arange(1, len(steps) + 1)
    values = np.asarray(steps, dtype=np.float64)
    finite = np.isfinite(values)
    values, number = values[finite], number[finite]
    above = values > _floor(values)
    if not above.all():
        first = int(np.argmin(above))
        values, number = values[:first], number[:first]
    half = len(values) // 2
    values, number = values[half:], number[half:]
    if len(values) < LEAST:
        return None
    logarithms = np.log(values)
    (slope, _), linear = _line(number, logarithms)
    (power, _), sublinear = _line(np.log(number), logarithms)
    if linear <= sublinear or power > 0:
        return Rate("linear", math.exp(slope), linear)
    return Rate("sublinear", -power, sublinear)


def _floor(values: np.ndarray) -> float:
    """Below which steps are rounding: they are short, and fall no more."""
    end = values[-max(LEAST, len(values) // 4) :]
    if len(values) > len(end) and end.max() < min(2 * end.min(), AMPLIFIED * ROUNDING):
        return max(ROUNDING, 2 * float(end.max()))
    return ROUNDING


def _line(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], float]:
    """Slope and intercept of the least squares line, and the root mean square of the rest."""
    slope, intercept = np.polyfit(x, y, 1)
    rest = float(np.sqrt(np.mean(np.square(y - slope * x - intercept))))
    return (float(slope), float(intercept)), rest


def largest_rise(values: Sequence[float]) -> float:
    """The largest increase of a value over the one before, relative to its size; 0 where none."""
    rises = [(after - before) / max(abs(before), 1e-30) for before, after in pairwise(values)]
    return max([0.0, *(rise for rise in rises if rise > SLACK)])


def distance(x: Tensor, other: Tensor) -> float:
    """Between two images, the root mean square, in units of the image range."""
    return float((x - other).double().square().mean().sqrt())
