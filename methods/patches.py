"""Training data as a function of the step: random patches, and the held-out tune images.

Sample n = step * batch + position decides image, place, turn, kernel, noise level and noise.
Nothing else is remembered, so that training can stop and go on after any step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from challenge.configs.schema import TrainConfig
from challenge.data import noise
from challenge.data.problem import Images, Problem

TUNE_SIDE = 256
"""Tune images are cropped about the centre to this side, so that an evaluation stays short."""
_TUNE_SAMPLES = 1 << 62
"""Sample numbers of the tune part start here, far beyond those of training."""


class Batch(NamedTuple):
    """Images x (B, C, H, W), their measurements y (B, C, H', W'), and the operator."""

    x: Tensor
    y: Tensor
    physics: LinearPhysics


def border(problem: Problem) -> int:
    """Pixels at every side of x that a measurement hardly sees: half a kernel for valid, else 0."""
    return problem.kernels.shape[-1] // 2 if problem.boundary == "valid" else 0


def inside(x: Tensor, border: int) -> Tensor:
    """x without its border, shape (B, C, H - 2 border, W - 2 border)."""
    return x[..., border:-border, border:-border] if border else x


def batch(
    images: Images,
    problem: Problem,
    train: TrainConfig,
    step: int,
    seed: int,
    device: torch.device,
) -> Batch:
    """The training batch of a step, on `device`.

    Patches have `train.patch` pixels a side, for a valid blur the measurements have. They are
    turned and mirrored at random; a smaller image is continued by mirroring.
    """
    samples = range(step * train.batch, (step + 1) * train.batch)
    side = train.patch + 2 * border(problem)
    x = torch.stack([_patch(images, side, n, seed) for n in samples]).to(device)
    return Batch(x, *problem.measure(x, samples))


def tune_batch(images: Images, problem: Problem, index: int, device: torch.device) -> Batch:
    """Tune image `index`, a batch of one whose measurement is the same at every evaluation."""
    _, height, width = images.shape(index)
    rows, columns = (min(side, TUNE_SIDE + 2 * border(problem)) for side in (height, width))
    x = images.patch(index, (height - rows) // 2, (width - columns) // 2, rows, columns)
    x = x[None].to(device)
    return Batch(x, *problem.measure(x, [_TUNE_SAMPLES + index]))


def _patch(images: Images, side: int, sample: int, seed: int) -> Tensor:
    generator = noise.generator(seed, "patch", str(sample))
    index = int(generator.integers(len(images)))
    _, height, width = images.shape(index)
    rows, columns = min(side, height), min(side, width)
    top = int(generator.integers(height - rows + 1))
    left = int(generator.integers(width - columns + 1))
    turn = int(generator.integers(8))
    x = images.patch(index, top, left, rows, columns)
    if (rows, columns) != (side, side):
        margins = ((0, 0), (0, side - rows), (0, side - columns))
        x = torch.from_numpy(np.pad(x.numpy(), margins, mode="symmetric"))
    x = torch.rot90(x, turn % 4, (1, 2))
    return x.flip(2) if turn >= 4 else x
