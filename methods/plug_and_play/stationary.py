"""The map that an iteration with a denoiser repeats, once its levels and steps stay as they are.

With f(x) = 1/2 ||A x - y||^2 and D at its last level,

    pgd     T(x) = D(x - s grad f(x))
    hqs     T(x) = D(prox_{f,R}(x))
    drs     T(z) = z + D(2 v - z) - v,        v = prox_{f,R}(z)
    admm    T(w) = w + prox_{f,R}(2 x - w) - x,   x = D(w): drs with both in turn, w = v + u
    red     T(x) = x - t (grad f(x) + lambda (x - D(x)))
    gs      T(x) = prox_{f,1/tau}(x - tau lambda (x - D(x)))

The theorems speak of such a map. `step` is s, 1 / R, t or tau.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from challenge.methods.contract import Method
from challenge.methods.solvers.data_term import DataTerm

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

Algorithm = Literal["pgd", "hqs", "admm", "drs", "red", "gs"]


@dataclass(frozen=True)
class Stationary:
    """An iteration of one image whose level and step stay."""

    algorithm: Algorithm
    prior: Method
    """The denoiser, a method of its own."""
    denoise: Callable[[Tensor], Tensor]
    """D at its level, (1, C, H, W) to the same shape."""
    level: float
    step: float
    weight: float = 1.0
    """lambda of red and gs; R of hqs, whose steps are those of gs with tau lambda = 1."""
    backtracks: bool = False
    """Whether the step becomes smaller where the objective does not fall enough."""

    def map(self, data: DataTerm) -> Callable[[Tensor], Tensor]:
        """T, differentiable, from (1, C, H, W) to the same shape."""
        d, step, weight = self.denoise, self.step, self.weight
        penalty = torch.full((1, 1, 1, 1), 1 / step).to(data.back)
        if self.algorithm == "pgd":
            return lambda x: d(x - step * data.gradient(x))
        if self.algorithm == "hqs":
            return lambda x: d(data.prox(x, penalty))
        if self.algorithm == "red":
            return lambda x: x - step * (data.gradient(x) + weight * (x - d(x)))
        if self.algorithm == "gs":
            return lambda x: data.prox(x - step * weight * (x - d(x)), penalty)
        if self.algorithm == "drs":

            def reflect(z: Tensor) -> Tensor:
                v = data.prox(z, penalty)
                return z + d(2 * v - z) - v

            return reflect

        def alternate(w: Tensor) -> Tensor:
            x = d(w)
            return w + data.prox(2 * x - w, penalty) - x

        return alternate

    def estimate(self, data: DataTerm, state: Tensor) -> Tensor:
        """The image that belongs to a state of T: z and w are no images."""
        if self.algorithm == "admm":
            return self.denoise(state)
        if self.algorithm == "drs":
            penalty = torch.full((1, 1, 1, 1), 1 / self.step).to(state)
            return data.prox(state, penalty)
        return state

    @torch.no_grad()
    def iterate(self, data: DataTerm, start: Tensor) -> Iterator[Tensor]:
        """Yield the states x_0, x_1, ... without end, each of shape (1, C, H, W)."""
        state, follow = start, self.map(data)
        while True:
            yield state
            state = follow(state)

    def certified(self, mu: float, curvature: float, denoiser: float, residual: float) -> float:
        """An upper bound of the Lipschitz constant of T; inf where nothing is known.

        Args:
            mu: least eigenvalue of A^T A, not more.
            curvature: largest one, not less.
            denoiser: upper bound for D.
            residual: upper bound for I - D.
        """
        s, a = self.step, self.step * mu
        if not math.isfinite(denoiser):
            return math.inf
        if self.algorithm == "pgd":
            return denoiser * max(abs(1 - a), abs(1 - s * curvature))
        if self.algorithm == "hqs":
            return denoiser / (1 + a)
        if self.algorithm == "red":
            pull = s * self.weight
            return max(abs(1 - pull - a), abs(1 - pull - s * curvature)) + pull * denoiser
        if self.algorithm == "gs":
            pull = s * self.weight
            return (abs(1 - pull) + pull * denoiser) / (1 + a)
        # Ryu et al. 2019, theorem 2.
        e = residual
        return (1 + e + e * a + 2 * e * e * a) / (1 + a + 2 * e * a)


@runtime_checkable
class HasStationary(Protocol):
    """A method that repeats one map of a denoiser in the end."""

    def stationary(self, y: Tensor, physics: LinearPhysics) -> Stationary:
        """That map's parameters for the measurement of one image.

        Args:
            y: measurement, shape (1, C, H', W').
            physics: the operator.
        """
