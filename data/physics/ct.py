"""Computed tomography with parallel beams: few views, or a limited range of angles.

    A x = line integrals of x / N,   N = max(H, W)

`projector` has the matrix. y has a row for each view and a column for each detector.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data.physics import projector
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

LARGEST = 300_000_000
"""Pixels times views: A and its transpose then have 5 GB each."""
HIGHEST = 1.5
"""Above the diagonal of a square of side 1, the longest way through an image of ones."""


class CT(Family[schema.CT]):
    """A x = line integrals of x / N, at the same angles for all images."""

    example = {"kind": "ct", "views": 20}
    channels = (1, 3)
    whole = True
    seen_as = "FBP"

    def load(self, config: schema.CT, shape: Shape, source: Path | None, notice: Notice) -> Arrays:
        _, height, width = shape
        if (most := LARGEST // (height * width)) < config.views:
            raise UserError.of(
                "`operator.views`",
                f"{config.views} views of {height}x{width} pixels are too large a matrix",
                f"give at most {most}, or a smaller `images.size`",
            )
        first, last = config.angles
        steps = np.arange(config.views) / config.views
        return {"angles": (first + (last - first) * steps).astype(np.float32)}

    def draw(
        self, config: schema.CT, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        return {"angles": arrays["angles"]}

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from challenge.data.physics.parallel_beam import ParallelBeam

        return ParallelBeam(parameters["angles"], shape)

    def range(self, config: schema.CT, arrays: Arrays) -> tuple[float, float]:
        return 0.0, HIGHEST

    def measured(self, parameters: Parameters, shape: Shape) -> Shape:
        channels, height, width = shape
        return channels, len(parameters["angles"]), projector.detectors(height, width)

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        angles = parameters["angles"]
        if not isinstance(angles, np.ndarray) or angles.dtype != np.float32 or angles.ndim != 1:
            return f"`angles` is {getattr(angles, 'dtype', type(angles).__name__)}, not float32"
        if not len(angles) or not np.isfinite(angles).all():
            return "`angles` has none, or some that are not finite"
        return ""

    def picture(
        self, y: NDArray[np.float32], parameters: Parameters, shape: Shape
    ) -> NDArray[np.float32]:
        """The filtered backprojection."""
        return projector.fbp(y, parameters["angles"], *shape[1:])

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str]:
        """The rays of all views through the centre."""
        angles, side = parameters["angles"], 33
        rows, columns = np.mgrid[:side, :side] - side // 2
        theta = np.deg2rad(angles)[:, None, None]
        distance = np.abs(columns * np.cos(theta) + rows * np.sin(theta)).min(0)
        picture = ((1 - distance).clip(0) * (np.hypot(rows, columns) <= side // 2)).astype(
            np.float32
        )
        span = len(angles) * np.rad2deg(projector.spacing(angles))
        return picture, f"{len(angles)} views, {span:.0f} deg"
