"""A search for few numbers by their hypergradient: the weight of a variational method, and eps.

    min_theta mean_i log ||x_hat_i(theta) - x_i||^2,    theta in logarithms

by the quasi-Newton method L-BFGS on a fixed set of images. The logarithm makes it the best mean
PSNR, to which every image counts alike. Each evaluation starts at the last solutions and is as
exact as the search is far: its tolerance falls threefold with every evaluation until it is the
method's own. A few evaluations take the place of a grid.

Byrd, Lu, Nocedal, Zhu 1995; Pedregosa 2016 (a sequence of tolerances).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from challenge.configs.schema import TrainConfig
from challenge.data.problem import Images, Problem, split_tune
from challenge.methods import patches
from challenge.methods.contract import Session
from challenge.methods.solvers.descent import Minimum

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

LOOSE, DECAY = 10.0, 3.0
"""The tolerance of evaluation n is max(1, LOOSE / DECAY^n) times the method's own."""
INEXACT = math.ceil(math.log(LOOSE, DECAY))
"""So many evaluations are less exact than the method."""
EVALUATIONS = 6
"""At most, per number that is searched, and once more: 12 for one, 18 for two."""
ENOUGH = 0.01
"""Slope of the logarithm of the error at which the search ends; an evaluation that lowers it by
less than the square of this, 0.0004 dB, ends it as well."""
REACH = 4.0
"""Every number is searched within a factor e^REACH of its start."""


class Searched(Protocol):
    """What is searched for: a method with few parameters, and a differentiable solution."""

    tolerance: float

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def observe(self) -> dict[str, float]: ...
    def solve(
        self, y: Tensor, physics: LinearPhysics, tolerance: float, start: Tensor | None
    ) -> Minimum: ...


class _Stopped(Exception):
    """The user asked to stop, or the evaluations are used up."""


def search(
    method: Searched, problem: Problem, images: Images, train: TrainConfig, session: Session
) -> int:
    """Set the parameters of `method` that require a gradient to the best on the tune images.

    Returns:
        The evaluations.
    """
    from scipy.optimize import minimize

    held = split_tune(images, train.tune, session.seed)[1]
    tune = held if len(held) else images
    device = session.fabric.device
    scenes = [patches.tune_batch(tune, problem, index, device) for index in range(len(tune))]
    border = patches.border(problem)
    theta = [each for each in method.parameters() if each.requires_grad]
    solutions: list[Tensor | None] = [None] * len(scenes)
    count, limit = 0, EVALUATIONS * (1 + len(theta))
    best: tuple[float, NDArray[np.float64] | None] = (math.inf, None)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal count, best
        if session.should_stop() or count == limit:
            raise _Stopped
        with torch.no_grad():
            for parameter, value in zip(theta, values, strict=True):
                parameter.fill_(float(value))
        tolerance = method.tolerance * max(1.0, LOOSE / DECAY**count)
        slopes, errors = np.zeros(len(theta)), list[float]()
        worst: dict[str, float] = {}
        for index, (x, y, physics) in enumerate(scenes):
            with torch.enable_grad():
                found = method.solve(y, physics, tolerance, solutions[index])
                error = patches.inside(found.x - x, border).square().mean()
                slope = torch.autograd.grad(error, theta)
            solutions[index] = found.x.detach()
            mse = max(error.item(), 1e-10)
            errors.append(mse)
            slopes += [each.item() / mse / len(scenes) for each in slope]
            for name, value in method.observe().items():
                worst[name] = max(worst.get(name, value), value)
        count, total = count + 1, float(np.mean(np.log(errors)))
        session.log(
            count,
            limit,
            loss=float(np.mean(errors)) / 2,
            psnr=-10 * total / math.log(10),
            **{f"theta_{n}": float(value) for n, value in enumerate(values)},
            **worst,
        )
        if count > INEXACT and total < best[0]:
            best = (total, values.copy())
        return total, slopes

    values = np.array([each.item() for each in theta])
    bounds = [(value - REACH, value + REACH) for value in values]
    # A search that ends while it is inexact goes on from there: its slope was not exact.
    with suppress(_Stopped):
        while count <= INEXACT:
            values = minimize(
                loss,
                values,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"gtol": ENOUGH, "ftol": ENOUGH**2},
            ).x
    if best[1] is not None:  # else it was stopped early, and begins anew when it is resumed
        with torch.no_grad():
            for parameter, value in zip(theta, best[1], strict=True):
                parameter.fill_(float(value))
    return count
