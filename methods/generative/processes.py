"""Forward processes that carry an image to noise, and their marginals.

    x_t = a(t) x_0 + b(t) n,   0 <= t <= 1,   n ~ N(0, I)
    dx = f(t) x dt + g(t) dW,  f = a' / a,    g^2 = (b^2)' - 2 f b^2

    variance exploding     a = 1,   b = low (high / low)^t,   f = 0,   g^2 = 2 b^2 log(high / low)
    variance preserving    a^2 = exp(-B(t)),   b^2 = 1 - a^2,   f = -beta / 2,   g^2 = beta
                           beta(t) = first + t (last - first),   B' = beta,   B(0) = 0

Where x_0 has the mean m and the variance v, x_t has a m and a^2 v + b^2. Variance preserving time
begins at `start` > 0, where b is not 0. Song et al. 2021, appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Process(Protocol):
    """What a sampler asks of a forward process at time t in [0, 1]."""

    def scale(self, t: float) -> float:
        """a(t)."""

    def spread(self, t: float) -> float:
        """b(t)."""

    def drift(self, t: float) -> float:
        """f(t)."""

    def diffusion(self, t: float) -> float:
        """g(t)."""


@dataclass(frozen=True)
class VarianceExploding:
    """Noise is added; numbers in units of the image range."""

    low: float = 0.002
    """b(0)."""
    high: float = 10.0
    """b(1)."""

    def scale(self, t: float) -> float:
        return 1.0

    def spread(self, t: float) -> float:
        return self.low * math.exp(t * math.log(self.high / self.low))

    def drift(self, t: float) -> float:
        return 0.0

    def diffusion(self, t: float) -> float:
        return self.spread(t) * math.sqrt(2 * math.log(self.high / self.low))


@dataclass(frozen=True)
class VariancePreserving:
    """Noise takes the place of the image."""

    first: float = 0.1
    """beta at the beginning."""
    last: float = 20.0
    """beta at the end."""
    start: float = 1e-4
    """The time of the equations at t = 0; that at t = 1 is 1."""

    def scale(self, t: float) -> float:
        return math.exp(-self._integral(t) / 2)

    def spread(self, t: float) -> float:
        return math.sqrt(-math.expm1(-self._integral(t)))

    def drift(self, t: float) -> float:
        return -(self.diffusion(t) ** 2) / 2

    def diffusion(self, t: float) -> float:
        rate = self.first + self._time(t) * (self.last - self.first)
        return math.sqrt(rate * (1 - self.start))

    def _time(self, t: float) -> float:
        return self.start + t * (1 - self.start)

    def _integral(self, t: float) -> float:
        time = self._time(t)
        return self.first * time + time**2 * (self.last - self.first) / 2
