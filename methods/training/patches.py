"""Training data as a function of the step: random patches, and the held-out tune images.

Sample n = step * batch + position decides image, place, turn, operator and noise.
Nothing else is remembered, so that training can stop and go on after any step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from deepinv.physics import LinearPhysics
from torch import Tensor

from challenge.configs.schema.training import Augment, TrainConfig
from challenge.data import noise
from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.transforms import image_range

TUNE_SIDE = 256
"""Tune images are cropped about the centre to this side, so that an evaluation stays short."""
_TUNE_SAMPLES = 1 << 62
"""Sample numbers of the tune part start here, far beyond those of training."""


class Batch(NamedTuple):
    """Images x (B, C, H, W), their measurements y (B, C, H', W'), and the operator."""

    x: Tensor
    y: Tensor
    physics: LinearPhysics


def margin(problem: Problem) -> int:
    """Pixels that an image has at every side beyond those that are both seen and scored."""
    return max(problem.border, problem.crop)


def evaluated_side(problem: Problem, side: int) -> int:
    """Pixels of a side of a tune image that an evaluation takes, of `side` that it has."""
    return problem.fitting(min(side, TUNE_SIDE + 2 * margin(problem)))


def scored(x: Tensor, problem: Problem) -> Tensor:
    """What the metric counts of images x, shape (B, C, H - 2 crop, W - 2 crop)."""
    crop = problem.crop
    return x[..., crop:-crop, crop:-crop] if crop else x


def compared(x: Tensor, problem: Problem) -> Tensor:
    """What the metric compares of images x: within [0, 1], of complex ones the magnitude.

    Shape (..., C | 1, H - 2 crop, W - 2 crop).
    """
    return image_range.compared(scored(x, problem))


def batch(
    images: Images,
    problem: Problem,
    train: TrainConfig,
    step: int,
    seed: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
) -> Batch:
    """The training batch of a step, on `device`: of `world` equal shares the one of `rank`.

    Patches have `train.patch` pixels a side that are seen and scored, and a `margin` around
    them. They are turned, mirrored and shrunk as `train.augment` says; a smaller image is
    continued by mirroring.
    """
    share = train.batch // world
    first = step * train.batch + rank * share
    samples = range(first, first + share)
    side = train.patch + 2 * margin(problem)
    x = torch.stack([_patch(images, side, n, seed, train.augment) for n in samples]).to(device)
    return Batch(x, *problem.measure(x, samples))


def tune_batch(images: Images, problem: Problem, index: int, device: torch.device) -> Batch:
    """Tune image `index`, a batch of one whose measurement is the same at every evaluation."""
    _, height, width = images.shape(index)
    rows, columns = (evaluated_side(problem, side) for side in (height, width))
    x = images.patch(index, (height - rows) // 2, (width - columns) // 2, rows, columns)
    x = x[None].to(device)
    return Batch(x, *problem.measure(x, [_TUNE_SAMPLES + index]))


class Ahead:
    """Batches made one step ahead, in a thread, while a GPU computes the step before.

    A batch is a function of its step, so that it is the same whenever and wherever it is made.
    On a CPU the thread would take the cores from the step, which is then a quarter slower.
    """

    def __init__(self, make: Callable[[int], Batch], *, threaded: bool) -> None:
        self._make, self._threaded = make, threaded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._next: tuple[int, Future[Batch]] | None = None

    def get(self, step: int, *, last: bool) -> Batch:
        """The batch of `step`; unless it is the last one, the next one is begun."""
        begun, self._next = self._next, None
        ready = begun is not None and begun[0] == step
        found = begun[1].result() if begun is not None and ready else self._make(step)
        if self._threaded and not last:
            self._next = (step + 1, self._thread.submit(self._make, step + 1))
        return found

    def close(self) -> None:
        """End the thread; a batch that it has begun is thrown away."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _patch(images: Images, side: int, sample: int, seed: int, augment: Augment) -> Tensor:
    generator = noise.generator(seed, "patch", str(sample))
    index = int(generator.integers(len(images)))
    _, height, width = images.shape(index)
    shrink = float(generator.uniform(augment.scale, 1)) if augment.scale < 1 else 1.0
    wanted = math.ceil(side / shrink)
    rows, columns = min(wanted, height), min(wanted, width)
    top = int(generator.integers(height - rows + 1))
    left = int(generator.integers(width - columns + 1))
    turn = int(generator.integers(8))
    x = images.patch(index, top, left, rows, columns)
    if (rows, columns) != (wanted, wanted):
        margins = ((0, 0), (0, wanted - rows), (0, wanted - columns))
        x = torch.from_numpy(np.pad(x.numpy(), margins, mode="symmetric"))
    if wanted != side:
        size = (side, side)
        x = F.interpolate(x[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
    if augment.rotations:
        x = torch.rot90(x, turn % 4, (1, 2))
    return x.flip(2) if augment.flips and turn >= 4 else x
