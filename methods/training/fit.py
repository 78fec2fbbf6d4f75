"""How a method with networks learns: weights drawn from the run's seed, the loop, fewer bits.

At the end, on the tune part, weights are rounded to half precision where that costs at most
0.01 dB, and what inference in bfloat16 costs is measured, so that `precision: auto` may use it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Session
from challenge.methods.training.evaluation import Estimate, quality
from challenge.methods.training.loop import Observe, supervised
from challenge.methods.training.objective import Loss, Output
from challenge.methods.training.precision import InferencePrecision, halve


def fit_network(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    net: nn.Module,
    build: Callable[[], nn.Module],
    precision: InferencePrecision,
    loss: Loss | None = None,
    output: Output | None = None,
    observe: Observe | None = None,
    estimate: Estimate | None = None,
) -> bool:
    """Draw the networks of a method anew, train all of the method, and measure fewer bits.

    Args:
        method: as its `fit` is called.
        problem: as in `fit`.
        images: as in `fit`.
        train: as in `fit`.
        session: as in `fit`; its seed decides the first weights.
        net: what of the method is drawn anew.
        build: makes a new one.
        precision: in which the method's networks compute.
        loss: see `training.loop.supervised`.
        output: likewise.
        observe: likewise.
        estimate: likewise.

    Returns:
        Whether it came to its end, and was not stopped.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(session.seed)
        net.load_state_dict(build().state_dict())
    precision.forget()
    steps = supervised(
        method,
        problem,
        images,
        train,
        session,
        loss=loss,
        output=output,
        observe=observe,
        estimate=estimate,
    )
    if session.should_stop():
        return False
    _, tune = split_tune(images, train.tune, session.seed)

    def psnr() -> float:
        return quality(method, tune, problem, session.fabric.device, estimate).psnr

    with precision.fixed("float32"):
        half_cost = halve(method, psnr)
    bf16_cost = precision.measure(psnr)
    session.log(steps, steps, float16_cost=half_cost, bf16_cost=bf16_cost)
    return True


def check_problem(channels: int, problem: Problem) -> None:
    """Raise `UserError` where a problem's images have not the method's channels."""
    if problem.channels != channels:
        raise UserError.of(
            "`method.channels`",
            f"is `{channels}`, the images of `{problem.name}` have `{problem.channels}`",
            f"give `method.channels={problem.channels}`",
        )


def check_measurement(channels: int, y: Tensor) -> None:
    """Raise `UserError` where a measurement (B, C, H', W') has not the method's channels."""
    if y.shape[1] != channels:
        raise UserError.of(
            "`method.channels`",
            f"the method is made for `{channels}`, the measurement has `{y.shape[1]}`",
            f"train with `method.channels={y.shape[1]}`",
        )
