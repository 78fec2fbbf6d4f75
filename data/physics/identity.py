"""Denoising: the operator that changes nothing.

A x = x
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from challenge.configs.schema import physics as schema
from challenge.data.physics.family import Arrays, Family, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class Identity(Family[schema.Identity]):
    """A x = x."""

    example = {"kind": "identity"}

    def draw(
        self, config: schema.Identity, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        return {}

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from deepinv.physics import Denoising

        return Denoising()
