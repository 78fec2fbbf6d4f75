"""Magnetic resonance imaging with one coil: some columns of the Fourier transform are sampled.

    A x = m F x,   F orthonormal, its frequency 0 in the middle;   m in {0, 1}, a column at a time

Complex images and measurements have two channels, the real and the imaginary part. Every mask has
the `centre`, a band of columns about frequency 0; the others are drawn at random, or are evenly
spaced from a random one on. Not sampled is 0 in the measurement, noise included.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class MRI(Family[schema.MRI]):
    """A x = m F x; the mask m is drawn for every image."""

    example = {"kind": "mri", "acceleration": 2, "centre": 0.1}
    channels = (2,)
    whole = True
    seen_as = "zero-filled"

    def load(self, config: schema.MRI, shape: Shape, source: Path | None, notice: Notice) -> Arrays:
        width = shape[2]
        total, middle = _counts(config, width)
        # Both are rounded down, so that each leaves room for the centre.
        fastest = 100 * width // max(middle, 1) / 100
        widest = 10_000 * total // width / 10_000
        if total < 1:
            raise UserError.of(
                "`operator.acceleration`",
                f"`{config.acceleration:g}` leaves nothing of {width} columns to sample",
                f"give at most {fastest:g}",
            )
        if middle > total:
            raise UserError.of(
                "`operator.centre`",
                f"is {middle} of {width} columns, an acceleration of {config.acceleration:g} "
                f"leaves {total}",
                f"give at most {widest:g}, or an acceleration of at most {fastest:g}",
            )
        return {}

    def draw(
        self, config: schema.MRI, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        width = shape[2]
        total, middle = _counts(config, width)
        total = max(total, 1)
        middle = min(middle, total)
        mask = np.zeros(width, bool)
        first = width // 2 - middle // 2
        mask[first : first + middle] = True
        others = np.flatnonzero(~mask)
        if config.pattern == "random":
            chosen = generator.permutation(len(others))[: total - middle]
        else:
            places = np.arange(total - middle) + generator.random()
            chosen = (places * len(others) / max(total - middle, 1)).astype(int)
        mask[others[chosen]] = True
        return {"mask": mask}

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from deepinv.physics import MRI

        mask = parameters["mask"]
        _, height, width = shape
        whole = mask[:, None, None].expand(len(mask), 2, height, width)
        return MRI(mask=whole.float().contiguous(), device=mask.device)

    def range(self, config: schema.MRI, arrays: Arrays) -> tuple[float, float]:
        return -np.inf, np.inf

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        mask = parameters["mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            return f"`mask` is {getattr(mask, 'dtype', type(mask).__name__)}, not bool"
        if mask.shape != shape[2:]:
            return f"a mask of shape {mask.shape} does not belong to an image {shape}"
        return "" if mask.any() else "the mask samples nothing"

    def picture(
        self, y: NDArray[np.float32], parameters: Parameters, shape: Shape
    ) -> NDArray[np.float32]:
        """The zero-filled image, F^-1 y."""
        axes = (-2, -1)
        middle = np.fft.ifftshift(y[0] + 1j * y[1], axes)
        x = np.fft.fftshift(np.fft.ifft2(middle, norm="ortho"), axes)
        return np.stack([x.real, x.imag]).astype(np.float32)

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str]:
        mask = parameters["mask"]
        picture = np.tile(mask.astype(np.float32), (max(1, len(mask) // 2), 1))
        return picture, f"mask, {100 * mask.mean():.0f} % sampled"


def _counts(config: schema.MRI, width: int) -> tuple[int, int]:
    """How many columns are sampled, and how many of them are the centre."""
    return round(width / config.acceleration), round(config.centre * width)
