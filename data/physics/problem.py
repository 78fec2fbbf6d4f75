"""The forward problem as a simulator: a number decides the operator and the noise.

y = A x + noise
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from challenge.configs.schema import physics as schema
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import channels_of
from challenge.data import noise
from challenge.data.physics import families, noise_models
from challenge.data.physics.family import Arrays, Parameters, Shape
from challenge.data.physics.measurements import Measurement

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


@dataclass(frozen=True, eq=False)
class Problem:
    """A challenge's forward problem, as training needs it."""

    name: str
    channels: int
    operator: schema.Operator
    """The section `operator:`; its family draws and builds."""
    arrays: Arrays
    """What the operator has in common for all images, such as `kernels`, float32 (N, k, k)."""
    noise: schema.Noise
    key: bytes
    """The train key; public."""
    crop: int
    """Pixels at every side of an image that the metric leaves out, and training with it."""

    @classmethod
    def of_kernels(
        cls,
        kernels: NDArray[np.float32],
        sigma: float | tuple[float, float],
        *,
        boundary: Literal["circular", "valid", "reflect"] = "circular",
        channels: int = 3,
        key: bytes = b"kernels",
        crop: int = 0,
    ) -> Problem:
        """The problem of blurs with Gaussian noise, without a challenge around it.

        Args:
            kernels: shape (N, k, k), k odd; every image draws one.
            sigma: noise level, or its range.
            boundary: rule at the image's boundary.
            channels: 3 for colour, 1 for grey images.
            key: by which kernels and noise are drawn.
            crop: pixels at every side that do not count.
        """
        operator = schema.Blur(kernel=schema.FileKernel(file="given"), boundary=boundary)
        level = schema.GaussianNoise(sigma=sigma)
        return cls("kernels", channels, operator, {"kernels": kernels}, level, key, crop)

    @property
    def border(self) -> int:
        """Pixels at every side of an image that the operator sees in part."""
        return families.of(self.operator).border(self.operator, self.arrays)

    @property
    def smallest(self) -> int:
        """The shortest side of an image that the operator takes."""
        return families.of(self.operator).smallest(self.operator, self.arrays)

    def fitting(self, side: int) -> int:
        """The longest side, of at most `side` pixels, that the operator takes."""
        return families.of(self.operator).fitting(self.operator, self.arrays, side)

    def at(self, level: schema.Noise) -> Problem:
        """The same problem with other noise."""
        return dataclasses.replace(self, noise=level)

    def measure(self, x: Tensor, samples: Sequence[int]) -> tuple[Tensor, LinearPhysics]:
        """Simulate measurements of training images.

        The sample number alone decides operator and noise of its image, whatever else is in the
        batch.

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
        y, physics, _ = self._simulate(x, self.key, [("train", n) for n in samples])
        return y, physics

    def physics(self, x: Tensor, samples: Sequence[int]) -> LinearPhysics:
        """The operator with which `measure` measures the same images.

        Args:
            x: images, shape (B, C, H, W); only their shape, type and device matter.
            samples: B global sample numbers, each >= 0.

        Returns:
            The operator and the noise level of this batch, on the device of `x`.
        """
        return self._physics(x, self.key, [("train", n) for n in samples])[0]

    def measure_stored(
        self, truth: NDArray[np.float32], identity: str, key: bytes, draw: int = 0
    ) -> Measurement:
        """The measurement of one image of shape (C, H, W); those of val and test are draw 0."""
        x = torch.from_numpy(truth)[None]
        y, _, drawn = self._simulate(x, key, [(identity, draw)])
        channels, height, width = truth.shape
        parameters, levels = drawn[0]
        return Measurement(
            identity=identity,
            y=y[0].numpy(),
            shape=(channels, height, width),
            operator={"kind": self.operator.kind, **parameters},
            noise={"kind": self.noise.kind, **levels},
        )

    def _simulate(
        self, x: Tensor, key: bytes, draws: Sequence[tuple[str, int]]
    ) -> tuple[Tensor, LinearPhysics, list[tuple[Parameters, noise_models.Levels]]]:
        """Measure each image with its own operator and noise; also what was drawn.

        Args:
            x: images in [0, 1], shape (B, C, H, W).
            key: the key of the split.
            draws: (identity, draw) of each image; with the key they decide everything.
        """
        physics, drawn = self._physics(x, key, draws)
        return noise_models.add(physics, x, self.noise.kind, key, draws), physics, drawn

    def _physics(
        self, x: Tensor, key: bytes, draws: Sequence[tuple[str, int]]
    ) -> tuple[LinearPhysics, list[tuple[Parameters, noise_models.Levels]]]:
        """The operators of images, and what was drawn; as `_simulate` has them."""
        channels, height, width = x.shape[1:]
        shape = (channels, height, width)
        drawn = [self._draw(shape, key, *each) for each in draws]
        physics = families.build(
            self.operator.kind, [parameters for parameters, _ in drawn], shape, x.device
        )
        noise_models.attach(physics, self.noise.kind, [levels for _, levels in drawn], x)
        return physics, drawn

    def _draw(
        self, shape: Shape, key: bytes, identity: str, draw: int
    ) -> tuple[Parameters, noise_models.Levels]:
        generator = noise.choices(key, identity, draw)
        family = families.of(self.operator)
        parameters = family.draw(self.operator, self.arrays, shape, generator)
        return parameters, noise_models.draw(self.noise, generator)


def open_problem(config: ChallengeConfig, arrays: Arrays, crop: int) -> Problem:
    """The problem of a resolved challenge, with what `prepare` published of its operator."""
    return Problem(
        name=config.name,
        channels=channels_of(config.images),
        operator=config.operator,
        arrays=arrays,
        noise=config.noise,
        key=noise.public_key(config.seed, config.name, "train"),
        crop=crop,
    )


def tensors(
    measurement: Measurement, device: torch.device | str = "cpu"
) -> tuple[Tensor, LinearPhysics]:
    """The measurement as a batch of one, shape (1, C, H', W'), with its operator."""
    y = torch.from_numpy(measurement.y.copy())[None].to(device)
    kind, drawn = measurement.operator["kind"], [measurement.parameters]
    physics = families.build(kind, drawn, measurement.shape, device)
    levels = {name: value for name, value in measurement.noise.items() if name != "kind"}
    return y, noise_models.attach(physics, measurement.noise["kind"], [levels], y)
