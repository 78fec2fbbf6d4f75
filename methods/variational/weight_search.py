"""A search for few numbers by their hypergradient: the weight of a variational method, and eps.

    min_theta mean_i log ||x_hat_i(theta) - x_i||^2,    theta in logarithms

by the quasi-Newton method BFGS on a fixed set of images. The logarithm makes it the best mean
PSNR, to which every image counts alike. Each evaluation starts at the last solutions and is as
exact as the search is far: its tolerance falls threefold with every evaluation until it is the
method's own. A few evaluations take the place of a grid.

The steps follow the slopes alone. Values of the error are inexact by more than the last steps
improve it, and a line search would go on comparing them.

Nocedal, Wright, Numerical Optimization, 2006, section 6.1; Pedregosa 2016 (tolerances).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Session
from challenge.methods.solvers.solution import Minimum
from challenge.methods.training import patches

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

LOOSE, DECAY = 9.0, 3.0
"""The tolerance of evaluation n is max(1, LOOSE / DECAY^n) times the method's own."""
INEXACT = round(math.log(LOOSE, DECAY))
"""So many evaluations are less exact than the method."""
EVALUATIONS = 6
"""At most, per number that is searched, and once more: 12 for one, 18 for two."""
ENOUGH = 0.01
"""Slope of the logarithm of the error at which the search ends: 0.0002 dB from the best, about."""
LONGEST = 1.0
"""A step changes a number by a factor of e at most."""
FLAT = 0.02
"""Least curvature that a step may teach; that of the first step is 1, near that of a weight."""
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


def search(
    method: Searched, problem: Problem, images: Images, train: TrainConfig, session: Session
) -> int:
    """Set the parameters of `method` that require a gradient to the best on the tune images.

    Returns:
        The evaluations.
    """

    held = split_tune(images, train.tune, session.seed)[1]
    tune = held if len(held) else images
    device = session.fabric.device
    scenes = [patches.tune_batch(tune, problem, index, device) for index in range(len(tune))]
    theta = [each for each in method.parameters() if each.requires_grad]
    solutions: list[Tensor | None] = [None] * len(scenes)
    limit = EVALUATIONS * (1 + len(theta))

    def evaluate(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """The slope of the mean logarithm of the errors."""
        with torch.no_grad():
            for parameter, value in zip(theta, values, strict=True):
                parameter.fill_(float(value))
        tolerance = method.tolerance * max(1.0, LOOSE / DECAY**count)
        slopes, errors = np.zeros(len(theta)), list[float]()
        worst: dict[str, float] = {}
        for index, (x, y, physics) in enumerate(scenes):
            with torch.enable_grad():
                found = method.solve(y, physics, tolerance, solutions[index])
                error = patches.scored(found.x - x, problem).square().mean()
                slope = torch.autograd.grad(error, theta)
            solutions[index] = found.x.detach()
            mse = max(error.item(), 1e-10)
            errors.append(mse)
            slopes += [each.item() / mse / len(scenes) for each in slope]
            for name, value in method.observe().items():
                worst[name] = max(worst.get(name, value), value)
        session.log(
            count + 1,
            limit,
            loss=float(np.mean(errors)) / 2,
            psnr=-10 * float(np.mean(np.log10(errors))),
            slope=float(np.abs(slopes).max()),
            **{f"theta_{n}": float(value) for n, value in enumerate(values)},
            **worst,
        )
        return slopes

    start = np.array([each.item() for each in theta])
    values, slope, inverse = start, np.zeros(len(theta)), np.eye(len(theta))
    best, count = (math.inf, start), 0
    while count < limit and not session.should_stop():
        before, values = (
            values,
            np.clip(_step(values, slope, inverse), start - REACH, start + REACH),
        )
        old, slope = slope, evaluate(values, count)
        count += 1
        if count > 1:
            inverse = _bfgs(inverse, values - before, slope - old)
        if count > INEXACT:
            best = min(best, (float(np.abs(slope).max()), values), key=lambda each: each[0])
            if best[0] <= ENOUGH:
                break
    # Stopped while inexact, it begins anew when it is resumed, from its start.
    with torch.no_grad():
        for parameter, value in zip(theta, best[1], strict=True):
            parameter.fill_(float(value))
    return count


def _step(
    values: NDArray[np.float64], slope: NDArray[np.float64], inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A quasi-Newton step, no part of it longer than LONGEST."""
    step = -inverse @ slope
    return values + step * min(1.0, LONGEST / max(float(np.abs(step).max()), LONGEST))


def _bfgs(
    inverse: NDArray[np.float64], way: NDArray[np.float64], change: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The inverse Hessian after a step; the same where the slope did not rise along it."""
    rise = float(way @ change)
    if rise <= FLAT * float(way @ way):
        return inverse
    left = np.eye(len(way)) - np.outer(way, change) / rise
    found: NDArray[np.float64] = left @ inverse @ left.T + np.outer(way, way) / rise
    return found
