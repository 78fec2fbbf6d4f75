"""An operator family: what the toolkit asks of a kind of forward operator.

    y = A(parameters) x + noise,   parameters = draw(config, arrays, shape, generator)

A family is one file here, its section one class in `configs/schema/physics.py`, its name one line
in `families.py`; `docs/operators.md` adds one. Free of torch but for `build`, so that the judge's
supervisor reads measurements of every family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema.section import Section

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

Array = NDArray[Any]
Arrays = Mapping[str, Array]
"""What a challenge publishes for all of its images, such as its kernels; by name."""
Parameters = Mapping[str, Any]
"""What the operator of one image is made of, by name: arrays, which may differ from image to image
(but not in shape), and words and whole numbers, which are the same for all of a challenge."""
Shape = tuple[int, int, int]
"""(C, H, W) of an image."""
Notice = Callable[[str], None]

C = TypeVar("C", bound=Section)


class Family(ABC, Generic[C]):
    """A kind of forward operator. The defaults are those of an operator that keeps the shape."""

    example: ClassVar[Mapping[str, Any]]
    """A small section `operator:`, on which every method is tested."""

    channels: ClassVar[tuple[int, ...]] = (1, 2, 3)
    """Of the images that it takes: grey, complex (real and imaginary part), colour."""

    whole: ClassVar[bool] = False
    """Whether each number of a measurement depends on all of the image, or on much of it: a patch
    of an image is then measured by another operator."""

    seen_as: ClassVar[str] = "measured"
    """What `picture` makes of a measurement, in a word for captions."""

    def load(self, config: C, shape: Shape, source: Path | None, notice: Notice) -> Arrays:
        """Read or make what is published for all images; nothing by default.

        Args:
            config: the section `operator:`.
            shape: (C, H, W) of the largest val and test images.
            source: the YAML file; files that it names are searched beside it first.
            notice: called with what was changed of a file, in one line.

        Raises:
            UserError: a file that does not hold what it should.
        """
        return {}

    def published(self, config: C) -> C:
        """The section without the organiser's folders."""
        return config

    @abstractmethod
    def draw(
        self, config: C, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        """The parameters of one image, from the numbers of `generator` alone.

        Args:
            config: the section `operator:`.
            arrays: what `load` made.
            shape: (C, H, W) of the image.
            generator: of this image: a function of the split's key, its id and its draw.
        """

    @abstractmethod
    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        """The operator of a batch, without noise.

        Args:
            parameters: as drawn, but arrays are tensors with a leading size of 1 or B.
            shape: (C, H, W) of the images.
        """

    def border(self, config: C, arrays: Arrays) -> int:
        """Pixels at every side of an image that the operator sees in part; 0 by default."""
        return 0

    def smallest(self, config: C, arrays: Arrays) -> int:
        """The shortest side of an image that the operator takes; 1 by default."""
        return 1

    def scale(self, config: C) -> int:
        """Pixels of the image along a side of one of the measurement; 1 by default."""
        return 1

    def fitting(self, config: C, arrays: Arrays, side: int) -> int:
        """The longest side, of at most `side` pixels, that the operator takes.

        By default the next multiple of its scale.
        """
        return side - side % self.scale(config)

    def range(self, config: C, arrays: Arrays) -> tuple[float, float]:
        """The lowest and highest value of A x for images x in [0, 1]."""
        return 0.0, 1.0

    def measured(self, parameters: Parameters, shape: Shape) -> Shape:
        """The shape (C, H', W') of the measurement of an image; that of the image by default."""
        return shape

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        """What is wrong with parameters that were read from a file; empty by default."""
        return ""

    def picture(
        self, y: NDArray[np.float32], parameters: Parameters, shape: Shape
    ) -> NDArray[np.float32]:
        """The measurement as a picture (C, H, W), in place of an image; y itself by default.

        Its PSNR is that of the measured input; a picture smaller than the image has none.
        """
        return y

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str] | None:
        """What there is to see of the operator: a picture (H, W) in [0, 1], and its caption."""
        return None
