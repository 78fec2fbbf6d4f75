"""What a picture's file holds, before it is a picture: its samples, and what they mean.

Whatever library decoded a file hands over this, and `colour` makes every picture of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

Colour = Literal["grey", "rgb", "cmyk", "lab"]
Alpha = Literal["none", "straight", "premultiplied"]
"""`premultiplied`: the colours were multiplied by the opacity (TIFF calls it associated)."""

CHANNELS: dict[Colour, int] = {"grey": 1, "rgb": 3, "cmyk": 4, "lab": 3}
"""Samples of a pixel, beside its opacity. `lab` is 8 bits: L, a and b, the latter two signed."""


@dataclass(frozen=True)
class Samples:
    """The samples of one picture, as stored: nothing scaled, inverted, converted or turned."""

    values: NDArray[Any]
    """Shape (H, W, S), any real type; where there is an opacity it is the last channel."""
    colour: Colour
    black: float
    """The value that means black, or no ink."""
    white: float
    """The value that means white, or full ink; below `black` where a file counts from white."""
    alpha: Alpha = "none"
    orientation: int = 1
    """How to turn it, 1 to 8 as in EXIF and TIFF."""
    profile: bytes | None = None
    """An ICC colour profile."""
    remarks: tuple[str, ...] = ()
    """What a person should know: phrases that read on after the names of files."""
    drafted: int = 1
    """By which factor the decoder made it smaller already."""
    size: tuple[int, int] | None = None
    """(height, width) in the file, where that is so."""

    @property
    def whole(self) -> tuple[int, int]:
        """(height, width) in the file."""
        height, width = self.values.shape[:2]
        return self.size or (height, width)
