"""The judge's time for an image, and how long a pass takes: what an inference may spend.

    passes = share * limit / seconds_a_pass

The pass is timed while the method learns, and what follows from it is stored with its weights: the
judge's own clock decides nothing, so that an entry gives the same image on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Gt

from challenge.configs.errors import UserError
from challenge.methods.contract import TimeLimit

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from torch import Tensor

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

PROBE = 256
"""Pixels of a side of the image that is timed, at most."""
SHARE = 0.4
"""Of the judge's time, which is taken: its machine may be slower, and images differ."""
REACH = 0.8
"""The same, at most, where a number is given: the rest is for the start."""

Seconds = Annotated[float, Gt(0)] | Literal["auto"]
"""A knob: what is spent on an image, `auto`: `SHARE` of what the judge leaves it."""
Prepare = Callable[["Tensor", "LinearPhysics"], Callable[[], object]]
"""Makes of measurements and their operator what is to be timed."""


@torch.no_grad()
def seconds_a_pass(
    prepare: Prepare, problem: Problem, images: Images, limit: TimeLimit | None
) -> float:
    """Seconds of a pass on an image of the limit's size, on a processor, the fastest of three.

    Args:
        prepare: makes the pass; it is not timed itself.
        problem: as in `fit`.
        images: as in `fit`.
        limit: the judge's; None: an image of the first one's size, and all threads.
    """
    _, height, width = images.shape(0)
    rows, columns = (problem.fitting(min(side, PROBE)) for side in (height, width))
    x = images.patch(0, 0, 0, rows, columns)[None]
    run = prepare(*problem.measure(x, [0]))
    took, before = [], torch.get_num_threads()
    torch.set_num_threads(min(limit.threads, before) if limit else before)
    try:
        for _ in range(3):
            began = time.perf_counter()
            run()
            took.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    pixels = limit.pixels if limit else height * width
    return min(took) * pixels / (rows * columns)


def allowed(seconds: float | Literal["auto"], limit: TimeLimit | None) -> float | None:
    """The seconds that an image may take; None where neither knob nor challenge says how many.

    Raises:
        UserError: the knob says more than `REACH` of what the judge leaves.
    """
    if seconds == "auto":
        return None if limit is None else SHARE * limit.seconds
    if limit is not None and seconds > REACH * limit.seconds:
        raise UserError.of(
            "`method.seconds`",
            f"is `{seconds:g}`, {REACH:.0%} of what the judge's limit leaves an image is "
            f"{REACH * limit.seconds:.3g} s",
            "give `method.seconds=auto`, or less",
        )
    return seconds
