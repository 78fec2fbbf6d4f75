"""Downsampling: fewer, larger pixels.

    A x = S (k * x),   S keeps every factor-th pixel of every factor-th row

Kernels that the factor stretches are centred on the factor x factor pixels that the kept pixel
stands for, so that y, enlarged by repeating its pixels, lies over x without a shift.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema import physics as schema
from challenge.data.physics import kernels
from challenge.data.physics.blur import (
    convolution,
    one_of,
    portrait_of,
    published_kernel,
    wrong_kernel,
)
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class Downsampling(Family[schema.Downsampling]):
    """A x = S (k * x); S keeps every factor-th pixel."""

    example = {"kind": "downsampling", "factor": 2}

    def load(
        self, config: schema.Downsampling, shape: Shape, source: Path | None, notice: Notice
    ) -> Arrays:
        return {"kernels": kernels.build_downsampling(config, source, notice)}

    def published(self, config: schema.Downsampling) -> schema.Downsampling:
        return config.model_copy(update={"kernel": published_kernel(config.kernel)})

    def draw(
        self,
        config: schema.Downsampling,
        arrays: Arrays,
        shape: Shape,
        generator: np.random.Generator,
    ) -> Parameters:
        return {
            "kernel": one_of(arrays["kernels"], generator),
            "boundary": config.boundary,
            "factor": config.factor,
        }

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from deepinv.physics import Downsampling
        from deepinv.physics.forward import ComposedLinearPhysics

        kernel = parameters["kernel"][:, None]
        # deepinv's own filter takes no FFT, and computes its spectrum anew at every call.
        keep = Downsampling(
            img_size=shape, filter=None, factor=parameters["factor"], device=kernel.device
        )
        return ComposedLinearPhysics(convolution(kernel, parameters["boundary"], shape), keep)

    def smallest(self, config: schema.Downsampling, arrays: Arrays) -> int:
        side: int = arrays["kernels"].shape[-1]
        return side

    def scale(self, config: schema.Downsampling) -> int:
        return config.factor

    def range(self, config: schema.Downsampling, arrays: Arrays) -> tuple[float, float]:
        found = arrays["kernels"].astype(np.float64)
        low = found.clip(max=0).sum((1, 2)).min()
        high = found.clip(min=0).sum((1, 2)).max()
        return float(low), float(high)

    def measured(self, parameters: Parameters, shape: Shape) -> Shape:
        factor = parameters["factor"]
        return shape[0], shape[1] // factor, shape[2] // factor

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        factor = parameters["factor"]
        if not isinstance(factor, int) or factor not in (2, 3, 4):
            return f"the factor is `{factor}`"
        if shape[1] % factor or shape[2] % factor:
            return f"the factor {factor} does not divide an image {shape}"
        if parameters["boundary"] not in ("circular", "reflect"):
            return f"unknown boundary `{parameters['boundary']}`"
        return wrong_kernel(parameters["kernel"])

    def picture(
        self, y: NDArray[np.float32], parameters: Parameters, shape: Shape
    ) -> NDArray[np.float32]:
        factor = parameters["factor"]
        return y.repeat(factor, 1).repeat(factor, 2)

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str]:
        picture, caption = portrait_of(parameters["kernel"])
        return picture, f"{caption}, factor {parameters['factor']}"
