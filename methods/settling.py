"""How a network method begins and ends its training: the images' spectrum, seed, fewer bits.

Before: the power spectrum of the training images, from which Wiener estimates follow, and new
weights drawn from the run's seed. After, on the tune part: weights are rounded to half precision
where that costs at most 0.01 dB, and what inference in bfloat16 costs is measured, so that
`precision: auto` may use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema import TrainConfig
from challenge.data.images import split_tune
from challenge.data.problem import Images, Problem
from challenge.methods import spectrum
from challenge.methods.contract import Method, Session
from challenge.methods.evaluation import quality
from challenge.methods.precision import BF16_COST, Precision, halve

UNKNOWN = -1.0
"""`bf16_cost` before it was measured."""
SPECTRUM_IMAGES = 64
"""The power spectrum, 48 numbers, is known from this many images."""


class Settles(Protocol):
    """What a method has that settles."""

    precision: Precision
    bf16_cost: Tensor


def inference_precision(method: Settles) -> Precision:
    """`auto` is float32 until bfloat16 was seen to cost next to nothing."""
    if method.precision != "auto":
        return method.precision
    cost = float(method.bf16_cost)
    return "auto" if cost != UNKNOWN and cost <= BF16_COST else "float32"


def begin(
    problem: Problem,
    images: Images,
    session: Session,
    *,
    channels: int,
    log_spectrum: Tensor,
    net: nn.Module,
    build: Callable[[], nn.Module],
) -> None:
    """Estimate the spectrum and draw the weights of `net` anew from the session's seed.

    Args:
        problem: must have `channels` channels.
        images: training images.
        session: its seed decides the weights.
        channels: of the method.
        log_spectrum: buffer of shape (spectrum.BINS,), filled in place.
        net: gets the weights of a new one.
        build: makes a new one.

    Raises:
        UserError: the problem's images have another number of channels.
    """
    if problem.channels != channels:
        raise UserError.of(
            "`method.channels`",
            f"is `{channels}`, the images of `{problem.name}` have `{problem.channels}`",
            f"give `method.channels={problem.channels}`",
        )
    some = images.subset(range(0, len(images), -(-len(images) // SPECTRUM_IMAGES)))
    log_spectrum.copy_(spectrum.estimate(some))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(session.seed)
        net.load_state_dict(build().state_dict())


def check_channels(channels: int, y: Tensor) -> None:
    """Raise `UserError` where a measurement (B, C, H', W') has not the method's channels."""
    if y.shape[1] != channels:
        raise UserError.of(
            "`method.channels`",
            f"the network is made for `{channels}`, the measurement has `{y.shape[1]}`",
            f"train with `method.channels={y.shape[1]}`",
        )


def settle(
    method: Method,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    steps: int,
) -> None:
    """Round the weights and measure bfloat16, on the tune part.

    Args:
        method: has `precision` and the buffer `bf16_cost` (`Settles`).
        problem: as in training.
        images: as in training; the tune part is held out of them.
        train: as in training.
        session: as in training.
        steps: done, for the log.
    """
    if session.should_stop():
        return
    settled: Settles = method
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
