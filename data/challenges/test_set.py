"""What everybody may know of the test set: how many images, their shapes, the operator.

The public manifest says it, whether or not the measurements are published: the time that a method
will need depends on nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from challenge.configs.schema.section import Section
from challenge.data.physics.measurements import Measurement

Shape = tuple[int, ...]


class Shapes(Section):
    """Images of one shape, and what their measurements have."""

    image: Shape
    """(C, H, W)."""
    measurement: Shape
    """(C, H', W'); a valid blur makes it smaller."""
    count: Annotated[int, Field(ge=1)]
    """Of such images."""


class TestSet(Section):
    """Of a challenge, as far as it is public: neither ids nor pixels, and in no order of images."""

    operator: str
    """Its family, as `operator.kind` names it: `blur`."""
    shapes: tuple[Shapes, ...]

    @property
    def count(self) -> int:
        """Images of the test set."""
        return sum(each.count for each in self.shapes)

    @property
    def pixels(self) -> float:
        """Of an image, in the mean."""
        total = sum(each.count * each.image[1] * each.image[2] for each in self.shapes)
        return total / self.count


def summarise(operator: str, measured: Iterable[Measurement]) -> TestSet:
    """Count measurements by their shapes, one of them in memory at a time."""
    counts = Counter((each.shape, each.y.shape) for each in measured)
    shapes = (
        Shapes(image=image, measurement=measurement, count=count)
        for (image, measurement), count in sorted(counts.items())
    )
    return TestSet(operator=operator, shapes=tuple(shapes))
