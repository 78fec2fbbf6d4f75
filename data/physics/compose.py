"""Several operators, one after the other.

    A x = A_n ... A_2 A_1 x

The parameters of operator i have names that begin with `i.`, from `0.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema import physics as schema
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class Compose(Family[schema.Compose]):
    """A x = A_n ... A_1 x."""

    example = {
        "kind": "compose",
        "operators": [
            {"kind": "blur", "kernel": {"kind": "gaussian", "std": 0.8}},
            {"kind": "downsampling", "factor": 2, "kernel": {"kind": "box"}},
        ],
    }

    def __init__(self, families: Mapping[str, Family[Any]]) -> None:
        self.families = families

    def load(
        self, config: schema.Compose, shape: Shape, source: Path | None, notice: Notice
    ) -> Arrays:
        found: dict[str, Any] = {}
        for index, each in enumerate(config.operators):
            # Later operators see what earlier ones have made of the images.
            family = self.families[each.kind]
            arrays = dict(family.load(each, shape, source, notice))
            found |= _prefixed(index, arrays)
            border, scale = family.border(each, arrays), family.scale(each)
            channels, *sides = shape
            height, width = ((side - 2 * border) // scale for side in sides)
            shape = (channels, height, width)
        return found

    def published(self, config: schema.Compose) -> schema.Compose:
        parts = tuple(self.families[each.kind].published(each) for each in config.operators)
        return config.model_copy(update={"operators": parts})

    def draw(
        self, config: schema.Compose, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        drawn: dict[str, Any] = {}
        for index, each in enumerate(config.operators):
            family = self.families[each.kind]
            parameters = family.draw(each, _part(index, arrays), shape, generator)
            drawn |= _prefixed(index, {"kind": each.kind, **parameters})
            shape = family.measured(parameters, shape)
        return drawn

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        from deepinv.physics.forward import ComposedLinearPhysics

        built = []
        for family, part in self._parts(parameters):
            physics = family.build(part, shape)
            built.append(physics)
            shape = _batched(family, part, shape)
        return ComposedLinearPhysics(*built)

    def border(self, config: schema.Compose, arrays: Arrays) -> int:
        pixels, border = 1, 0
        for family, each, part in self._configured(config, arrays):
            border += pixels * family.border(each, part)
            pixels *= family.scale(each)
        return border

    def smallest(self, config: schema.Compose, arrays: Arrays) -> int:
        pixels, border, smallest = 1, 0, 1
        for family, each, part in self._configured(config, arrays):
            smallest = max(smallest, pixels * family.smallest(each, part) + 2 * border)
            border += pixels * family.border(each, part)
            pixels *= family.scale(each)
        return smallest

    def scale(self, config: schema.Compose) -> int:
        return int(np.prod([self.families[each.kind].scale(each) for each in config.operators]))

    def fitting(self, config: schema.Compose, arrays: Arrays, side: int) -> int:
        # What one operator leaves must fit the next one.
        fits = (each for each in range(side, 0, -1) if self._takes(config, arrays, each))
        return next(fits, 0)

    def _takes(self, config: schema.Compose, arrays: Arrays, side: int) -> bool:
        for family, each, part in self._configured(config, arrays):
            if side <= 0 or family.fitting(each, part, side) != side:
                return False
            side = (side - 2 * family.border(each, part)) // family.scale(each)
        return True

    def range(self, config: schema.Compose, arrays: Arrays) -> tuple[float, float]:
        low, high = 0.0, 1.0
        for family, each, part in self._configured(config, arrays):
            # A of [low, high] is low A 1 + (high - low) A [0, 1]; A 1 lies within A [0, 1].
            bottom, top = family.range(each, part)
            ends = (low * bottom, low * top)
            low, high = min(ends) + (high - low) * bottom, max(ends) + (high - low) * top
        return low, high

    def measured(self, parameters: Parameters, shape: Shape) -> Shape:
        for family, part in self._parts(parameters):
            shape = family.measured(part, shape)
        return shape

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        for family, part in self._parts(parameters):
            if found := family.wrong(part, shape):
                return found
            shape = family.measured(part, shape)
        return ""

    def picture(
        self, y: NDArray[np.float32], parameters: Parameters, shape: Shape
    ) -> NDArray[np.float32]:
        shapes, parts = [shape], list(self._parts(parameters))
        for family, part in parts:
            shapes.append(family.measured(part, shapes[-1]))
        for (family, part), seen in zip(parts[::-1], shapes[-2::-1], strict=True):
            y = family.picture(y, part, seen)
        return y

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str] | None:
        """Those of its operators side by side, enlarged to about one height."""
        found = [family.portrait(part) for family, part in self._parts(parameters)]
        shown = [each for each in found if each is not None]
        if not shown:
            return None
        tallest = max(len(picture) for picture, _ in shown)
        panels = []
        for picture, _ in shown:
            times = tallest // len(picture)
            large = picture.repeat(times, 0).repeat(times, 1)
            panels.append(np.pad(large, ((0, tallest - len(large)), (0, 1)), constant_values=1))
        return np.concatenate(panels, 1), "; ".join(caption for _, caption in shown)

    def _parts(self, parameters: Parameters) -> Iterator[tuple[Family[Any], Parameters]]:
        index = 0
        while part := dict(_part(index, parameters)):
            yield self.families[part.pop("kind")], part
            index += 1

    def _configured(
        self, config: schema.Compose, arrays: Arrays
    ) -> Iterator[tuple[Family[Any], Any, Arrays]]:
        for index, each in enumerate(config.operators):
            yield self.families[each.kind], each, _part(index, arrays)


def _prefixed(index: int, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{index}.{name}": value for name, value in values.items()}


def _part(index: int, values: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{index}."
    found = {name: value for name, value in values.items() if name.startswith(start)}
    return {name.removeprefix(start): value for name, value in found.items()}


def _batched(family: Family[Any], part: Parameters, shape: Shape) -> Shape:
    """What `measured` says, of the parameters of a batch: those of its first image."""
    first = {name: value[0] if hasattr(value, "shape") else value for name, value in part.items()}
    return family.measured(first, shape)
