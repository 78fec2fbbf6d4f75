"""The forward problem as a simulator: y = A x + sigma n, where a number decides A, sigma and n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from deepinv.physics import LinearPhysics
from numpy.typing import NDArray
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.data import noise
from challenge.data.layout import FRESH
from challenge.data.physics import blur, measurements
from challenge.data.physics.measurements import Measurement


@dataclass(frozen=True, eq=False)
class Problem:
    """A challenge's forward problem, as training needs it."""

    name: str
    channels: int
    boundary: str
    kernels: Tensor
    """(N, 1, k, k), float32, each sums to 1, padded to one odd size."""
    sigma: tuple[float, float]
    """The lowest and the highest noise level."""
    key: bytes
    """The train key; public."""
    crop: int
    """Pixels at every side of an image that the metric leaves out, and training with it."""

    @property
    def border(self) -> int:
        """Pixels at every side of an image that the operator sees in part."""
        return measurements.border(self.boundary, self.kernels.shape[-1])

    def measure(self, x: Tensor, samples: Sequence[int]) -> tuple[Tensor, LinearPhysics]:
        """Simulate measurements of training images.

        The sample number alone decides kernel, noise level and noise of its image, whatever
        else is in the batch.

        Args:
            x: images, float32 in [0, 1], shape (B, C, H, W).
            samples: B global sample numbers, each >= 0.

        Returns:
            y of shape (B, C, H', W'), on the device of `x`, and the operator of this batch.

        Raises:
            ValueError: if the shapes do not fit each other or the problem.
        """
        if x.ndim != 4 or x.shape[1] != self.channels or len(samples) != len(x):
            raise ValueError(
                f"{len(samples)} samples and images of shape {tuple(x.shape)} do not fit a "
                f"problem with {self.channels} channels"
            )
        return simulate(
            x, self.kernels, self.sigma, self.boundary, self.key, [("train", n) for n in samples]
        )


def simulate(
    x: Tensor,
    kernels: Tensor,
    levels: tuple[float, float],
    boundary: str,
    key: bytes,
    draws: Sequence[tuple[str, int]],
) -> tuple[Tensor, LinearPhysics]:
    """Blur each image with its own kernel and add its own noise.

    Args:
        x: images in [0, 1], shape (B, C, H, W).
        kernels: the challenge's kernels, shape (N, 1, k, k); each image draws one.
        levels: lowest and highest sigma; each image draws one.
        boundary: see `blur.blur`.
        key: the key of the split.
        draws: (identity, draw) of each image; with the key they decide everything.
    """
    chosen = [noise.settings(key, *draw, len(kernels), levels) for draw in draws]
    kernels = kernels.to(x.device)
    if len(kernels) > 1:
        kernels = kernels[[index for index, _ in chosen]]
    fixed = levels[0] == levels[1]
    sigma = torch.tensor([level for _, level in chosen[: 1 if fixed else None]], device=x.device)
    channels, height, width = x.shape[1:]
    physics = blur.blur(kernels, sigma, boundary, (channels, height, width))
    y: Tensor = physics.A(x)
    n = torch.from_numpy(np.stack([noise.normal(key, *draw, y.shape[1:]) for draw in draws]))
    return y + sigma.reshape(-1, 1, 1, 1) * n.to(x.device), physics


def measure_stored(
    truth: NDArray[np.float32],
    kernels: Tensor,
    levels: tuple[float, float],
    boundary: str,
    key: bytes,
    identity: str,
    draw: int = 0,
) -> Measurement:
    """The measurement of one image of shape (C, H, W); those of val and test are draw 0."""
    x = torch.from_numpy(truth)[None]
    y, physics = simulate(x, kernels, levels, boundary, key, [(identity, draw)])
    index, level = noise.settings(key, identity, draw, len(kernels), levels)
    channels, height, width = truth.shape
    return Measurement(
        identity=identity,
        y=y[0].numpy(),
        kernel=kernels[index, 0].numpy(),
        sigma=level,
        boundary=boundary,
        shape=(channels, height, width),
    )


def open_problem(config: ChallengeConfig, kernels: Path, crop: int) -> Problem:
    """The problem of a resolved challenge, with the kernels stored by `prepare`, and its crop."""
    try:
        array = np.load(kernels, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise UserError.of(kernels, "is damaged", FRESH) from None
    if array.dtype != np.float32 or array.ndim != 3 or not np.isfinite(array).all():
        raise UserError.of(kernels, f"holds {array.dtype} of shape {array.shape}", FRESH)
    return Problem(
        name=config.name,
        channels=3 if config.images.mode == "colour" else 1,
        boundary=config.operator.boundary,
        kernels=torch.from_numpy(array)[:, None],
        sigma=config.noise.levels,
        key=noise.public_key(config.seed, config.name, "train"),
        crop=crop,
    )
