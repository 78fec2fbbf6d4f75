"""How a network method begins and ends its training: the images' spectrum, seed, fewer bits.

Before: the power spectrum of the training images, from which Wiener estimates follow, and new
weights drawn from the run's seed. After, on the tune part: weights are rounded to half precision
where that costs at most 0.01 dB, and what inference in bfloat16 costs is measured, so that
`precision: auto` may use it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Session
from challenge.methods.training.evaluation import quality
from challenge.methods.training.loop import Output, supervised
from challenge.methods.training.precision import BF16_COST, Precision, autocast, halve
from challenge.methods.transforms import spectrum

UNKNOWN = -1.0
"""`bf16_cost` before it was measured."""
SPECTRUM_IMAGES = 64
"""The power spectrum, 48 numbers, is known from this many images."""


class Settles(Protocol):
    """What a method with networks has."""

    channels: int
    precision: Precision
    log_spectrum: Tensor
    bf16_cost: Tensor
    training: bool


def register(method: Method) -> None:
    """Give a method the buffers `log_spectrum` and `bf16_cost`, as they are before training."""
    method.register_buffer("log_spectrum", spectrum.typical())
    method.register_buffer("bf16_cost", torch.tensor(UNKNOWN))


def computing(method: Settles, device: torch.device) -> AbstractContextManager[object]:
    """The precision in which the networks of a method compute, as a context.

    In inference `auto` is float32 until bfloat16 was seen to cost next to nothing; while a method
    trains, Lightning Fabric's precision rules. What comes out may be bfloat16: convert it.
    """
    if method.training:
        return nullcontext()
    precision, cost = method.precision, float(method.bf16_cost)
    if precision == "auto" and not UNKNOWN < cost <= BF16_COST:
        precision = "float32"
    return autocast(precision, device)


def learn(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    net: nn.Module,
    build: Callable[[], nn.Module],
    output: Output | None = None,
) -> None:
    """The `fit` of a method with networks.

    Args:
        method: has `channels`, `precision` and the buffers of `register` (`Settles`).
        problem: as in `fit`.
        images: as in `fit`.
        train: as in `fit`.
        session: as in `fit`; its seed decides the first weights.
        net: what of the method is drawn anew.
        build: makes a new one.
        output: see `training.supervised`.

    Raises:
        UserError: the problem's images have another number of channels.
    """
    settled: Settles = method
    if problem.channels != settled.channels:
        raise UserError.of(
            "`method.channels`",
            f"is `{settled.channels}`, the images of `{problem.name}` have `{problem.channels}`",
            f"give `method.channels={problem.channels}`",
        )
    settled.log_spectrum.copy_(known_spectrum(images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(session.seed)
        net.load_state_dict(build().state_dict())
    settled.bf16_cost.fill_(UNKNOWN)
    steps = supervised(method, problem, images, train, session, output=output)
    if not session.should_stop():
        _settle(method, settled, problem, images, train, session, steps)


def known_spectrum(images: Images) -> Tensor:
    """Log S, shape (spectrum.BINS,), from some of the training images."""
    return spectrum.estimate(
        images.subset(range(0, len(images), -(-len(images) // SPECTRUM_IMAGES)))
    )


def check_channels(channels: int, y: Tensor) -> None:
    """Raise `UserError` where a measurement (B, C, H', W') has not the method's channels."""
    if y.shape[1] != channels:
        raise UserError.of(
            "`method.channels`",
            f"the network is made for `{channels}`, the measurement has `{y.shape[1]}`",
            f"train with `method.channels={y.shape[1]}`",
        )


def _settle(
    method: Method,
    settled: Settles,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    steps: int,
) -> None:
    """Round the weights and measure bfloat16, on the tune part."""
    _, tune = split_tune(images, train.tune, session.seed)
    device, wanted = session.fabric.device, settled.precision

    def psnr(precision: Precision) -> float:
        settled.precision = precision
        found = quality(method, tune, problem, device).psnr
        settled.precision = wanted
        return found

    half_cost = halve(method, lambda: psnr("float32"))
    cost = psnr("float32") - psnr("bf16")
    settled.bf16_cost.fill_(max(cost, 0.0))
    session.log(steps, steps, float16_cost=half_cost, bf16_cost=cost)
