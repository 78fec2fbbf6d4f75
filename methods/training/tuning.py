"""The best values of one or two positive numbers of a method, such as the weight of a regulariser.

    max_t  mean_i PSNR(x_hat_i(e^t), x_i),   i over the tune images,   |t - t_0| <= REACH

by a bounded search, of Brent (1973) for one number and of Nelder, Mead (1965) for two, at one noise
level (`transforms.noise_level`) or at both ends of the range. In between, the logarithm of a number
follows that of the noise level. Photons of one gain have a level that differs from image to image;
one number then serves all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.noise_models import extremes
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Session
from challenge.methods.training.patches import compared, evaluated_side
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

EVALUATIONS = 12
"""Values tried for each noise level and number, at most."""
REACH = 3.4
"""Values are searched within a factor e^REACH, about 30, of where the search begins."""
EXACT = 0.03
"""To how small a difference of logarithms."""
ENOUGH = 1e-3
"""To how small a difference of the PSNR two numbers are searched, in dB."""
FIRST_STEP = 0.7
"""By how much two numbers differ at first, in logarithms: a factor of 2."""

Reconstruct = Callable[[Tensor, "LinearPhysics", Tensor], Tensor]
"""(y, physics, the number, of shape (1, 1, 1, 1), or several one after the other) -> x_hat."""
Scene = tuple[Tensor, Tensor, "LinearPhysics"]
"""x (1, C, H, W), y, and the operator."""


class _StopAsked(Exception):
    """The user asked to stop."""


def tune(
    reconstruct: Reconstruct,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    name: str,
    start: Callable[[float], float],
) -> tuple[Tensor, Tensor] | None:
    """Search the best number by the mean PSNR on the tune images, or on all where none is held out.

    Args:
        reconstruct: x_hat of measurements (B, C, H', W') with one value of the number.
        problem: the forward problem.
        images: training images.
        train: how many of them are held out.
        session: device, log of every value tried, and whether to stop.
        name: of the number, in the log.
        start: where the search begins, of the noise level.

    Returns:
        The lowest and the highest noise level, and the logarithms of the best numbers there, each
        of shape (2,). None if the user asked to stop: a run that is resumed begins anew.
    """
    found = tune_several(
        lambda y, physics, values: reconstruct(y, physics, values[0]),
        problem,
        images,
        train,
        session,
        names=[name],
        start=lambda level: [start(level)],
    )
    return None if found is None else (found[0], found[1][:, 0])


def tune_several(
    reconstruct: Reconstruct,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    names: Sequence[str],
    start: Callable[[float], Sequence[float]],
) -> tuple[Tensor, Tensor] | None:
    """As `tune`, for n numbers at once, one or two.

    Args:
        reconstruct: x_hat of measurements (B, C, H', W') with values of shape (n, 1, 1, 1, 1).
        problem: as for `tune`.
        images: as for `tune`.
        train: as for `tune`.
        session: as for `tune`.
        names: of the numbers, in the log.
        start: where the search begins, n values, of the noise level.

    Returns:
        As `tune`, but the logarithms have shape (2, n).
    """
    held = split_tune(images, train.tune, session.seed)[1]
    crops = [_centre(x, problem) for x in (held if len(held) else images)]
    ends = extremes(problem.noise)
    budget = len(names) * EVALUATIONS
    levels, found = [], []
    for part, end in enumerate(ends):
        at_end = problem.at(end)
        scenes = []
        for sample, crop in enumerate(crops):
            x = crop[None].to(session.fabric.device)
            scenes.append((x, *at_end.measure(x, [sample])))
        noisy = [noise_level(y, physics).flatten() for _, y, physics in scenes]
        level = float(torch.cat(noisy).median())
        levels.append(level)
        steps = itertools.count(part * budget + 1)

        def report(
            values: list[float], psnr: float, level: float = level, steps: Iterator[int] = steps
        ) -> None:
            tried = dict(zip(names, values, strict=True))
            session.log(next(steps), len(ends) * budget, **tried, sigma=level, psnr=psnr)

        try:
            found.append(_best(reconstruct, at_end, scenes, session, start(level), report))
        except _StopAsked:
            return None
    return torch.tensor([levels[0], levels[-1]]), torch.tensor([found[0], found[-1]])


def between(levels: Tensor, logarithms: Tensor, sigma: Tensor) -> Tensor:
    """The number at noise levels `sigma`, from what `tune` found, log-linear; as `sigma` is shaped.

    Above the tuned levels it is that of the highest one; below, where it hardly matters, it goes
    on to fall with the level.
    """
    low, high = levels.to(sigma).log()
    first, last = logarithms.to(sigma)
    share = ((sigma.log() - low) / (high - low).clamp_min(1e-6)).clamp_max(1)
    return torch.exp(first + share * (last - first))


def _best(
    reconstruct: Reconstruct,
    problem: Problem,
    scenes: list[Scene],
    session: Session,
    start: Sequence[float],
    report: Callable[[list[float], float], None],
) -> list[float]:
    """Logarithms of the numbers that are best for the scenes."""

    @torch.no_grad()
    def loss(logarithms: Sequence[float]) -> float:
        if session.should_stop():
            raise _StopAsked
        values = torch.tensor(logarithms, dtype=torch.float32, device=session.fabric.device).exp()
        shaped = values.reshape(-1, 1, 1, 1, 1)
        psnr = sum(_psnr(reconstruct(y, physics, shaped), x, problem) for x, y, physics in scenes)
        report(values.tolist(), psnr / len(scenes))
        return -psnr / len(scenes)

    return _minimum(loss, [math.log(each) for each in start])


def _minimum(loss: Callable[[Sequence[float]], float], centres: list[float]) -> list[float]:
    """Where a function of one or two numbers is least, within REACH of where they begin."""
    from scipy.optimize import minimize, minimize_scalar

    bounds = [(each - REACH, each + REACH) for each in centres]
    if len(centres) == 1:
        best = minimize_scalar(
            lambda t: loss([float(t)]),
            bounds=bounds[0],
            method="bounded",
            options={"maxiter": EVALUATIONS, "xatol": EXACT},
        )
        return [float(best.x)]
    corners = [centres]
    for place in range(len(centres)):
        corners.append([each + FIRST_STEP * (i == place) for i, each in enumerate(centres)])
    options = {
        "maxfev": len(centres) * EVALUATIONS,
        "initial_simplex": corners,
        "xatol": EXACT,
        "fatol": ENOUGH,
    }
    best = minimize(
        lambda t: loss([float(each) for each in t]),
        centres,
        bounds=bounds,
        method="Nelder-Mead",
        options=options,
    )
    return [float(each) for each in best.x]


def _centre(x: Tensor, problem: Problem) -> Tensor:
    """The centre of an image of shape (C, H, W), as large as an evaluation takes it."""
    height, width = (evaluated_side(problem, each) for each in x.shape[-2:])
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[:, top : top + height, left : left + width]


def _psnr(x_hat: Tensor, x: Tensor, problem: Problem) -> float:
    """PSNR in dB, over what the metric counts."""
    error = compared(x_hat, problem) - compared(x, problem)
    error = error.square().mean().clamp_min(1e-10)
    return float(-10 * error.log10())
