"""Training data as a function of the step: random patches, and the held-out tune images.

Sample n = step * batch + position decides image, place, turn, operator and noise.
Nothing else is remembered, so that training can stop and go on after any step.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from deepinv.physics import LinearPhysics
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from challenge.configs.errors import UserError
from challenge.configs.schema.training import Augment, TrainConfig
from challenge.data import noise
from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.transforms import image_range

TUNE_SIDE = 256
"""Tune images are cropped about the centre to this side, so that an evaluation stays short."""
MOST_WORKERS = 16
"""Processes that make batches for one GPU."""
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
    samples = _samples(train, step, rank, world)
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


class Share(NamedTuple):
    """What the batches of a training, or one process's share of them, are made of."""

    images: Images
    problem: Problem
    train: TrainConfig
    seed: int
    rank: int = 0
    world: int = 1

    def batch(self, step: int, device: torch.device) -> Batch:
        """See `batch`."""
        images, problem, train, seed, rank, world = self
        return batch(images, problem, train, step, seed, device, rank, world)


class Ahead:
    """Batches made ahead by processes, while a GPU computes the steps before.

    A batch is a function of its step, so that it is the same whoever makes it. On a CPU, processes
    would take the cores from the step, which is then slower: there none is started.
    """

    def __init__(self, share: Share, device: torch.device, workers: int) -> None:
        """Start nothing yet.

        Args:
            share: what they are made of.
            device: on which they are needed.
            workers: processes that make them; 0: none, each batch is made when it is asked for.
        """
        self._share, self._device, self._workers = share, device, workers
        self._made: Any = None
        self._next = 0

    def get(self, step: int) -> Batch:
        """The batch of `step`; those of the next steps are begun."""
        if not self._workers:
            return self._share.batch(step, self._device)
        if self._made is None or step != self._next:
            self.close()
            self._made, self._next = self._begin(step), step
        self._next += 1
        made = next(self._made)
        if isinstance(made, UserError):
            raise made
        x, y = (each.to(self._device, non_blocking=True) for each in made)
        _, problem, train, _, rank, world = self._share
        return Batch(x, y, problem.physics(x, _samples(train, step, rank, world)))

    def close(self) -> None:
        """End the processes; batches that they have begun are thrown away."""
        made, self._made = self._made, None
        if made is not None:
            # By itself it waits for the last reference, which the traceback of a mistake holds.
            made._shutdown_workers()

    def _begin(self, step: int) -> Any:
        loader: DataLoader[_Pair | UserError] = DataLoader(
            _Pairs(self._share),
            batch_size=None,
            sampler=_From(step),
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            # Forked, so that all share the decoded images.
            multiprocessing_context="fork",
            worker_init_fn=_leave_signals,
        )
        with _held_back():
            return iter(loader)


def _leave_signals(worker: int) -> None:
    """Let the process that trains answer signals: a group of processes gets them all alike.

    Ended by one, a worker would end the training before it is saved. `Ahead.close` ends them.
    """
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait: processes that are forked meanwhile get none before they leave them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    return [signal.Signals[name] for name in names]


def workers(device: torch.device, processes: int) -> int:
    """Processes that make batches for each that trains on this machine: none without a GPU.

    Args:
        device: of the one that asks.
        processes: so many train on this machine.
    """
    if device.type != "cuda" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // processes - 1))


_Pair = tuple[Tensor, Tensor]
"""Images and measurements of a batch; operators do not travel between processes."""


class _Pairs(Dataset[_Pair | UserError]):
    """By the step; a user's mistake as it is, around which the loader would put its traceback."""

    def __init__(self, share: Share) -> None:
        self._share = share

    def __getitem__(self, step: int) -> _Pair | UserError:
        try:
            x, y, _ = self._share.batch(step, torch.device("cpu"))
        except UserError as error:
            return error
        return x, y


class _From(Sampler[int]):
    """Steps from one on, without an end."""

    def __init__(self, step: int) -> None:
        self._step = step

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._step)


def _samples(train: TrainConfig, step: int, rank: int, world: int) -> range:
    share = train.batch // world
    first = step * train.batch + rank * share
    return range(first, first + share)


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
