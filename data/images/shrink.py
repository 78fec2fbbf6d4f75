"""Photographs made smaller: the mean over n x n pixels, as a camera with larger pixels has it.

A crop of 256 pixels shows nothing of a photograph of 12 megapixels. By default n is the whole
number that brings a photograph closest to 1 megapixel, and leaves its shorter side twice the size
of a crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TARGET = 1_000_000
"""Pixels that a photograph is shrunk to, about."""
_DRAFT = 8
Factor = Callable[[int, int], int]
"""From height and width to n."""


def factor(setting: int | Literal["auto"], size: int) -> Factor:
    """The rule of `images.shrink`: n for every photograph, or `auto`.

    Args:
        size: pixels of a crop's side, `images.size`.
    """
    if setting != "auto":
        return lambda height, width: setting

    def automatic(height: int, width: int) -> int:
        n = max(1, min(round(sqrt(height * width / TARGET)), min(height, width) // (2 * size)))
        return n - n % 2 if n >= _DRAFT else n  # even, so that a decoder can do a half of it

    return automatic


def whole(height: int, width: int) -> int:
    """The rule that shrinks nothing."""
    return 1


def described(factors: Iterable[int]) -> str:
    """In words, over how many pixels photographs were averaged; empty where none was."""
    low, high = min(factors := list(factors)), max(factors)
    if high == 1:
        return ""
    return f"averaged over {low}x{low}" + (f" to {high}x{high}" if low < high else "") + " pixels"


def mean(picture: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """The means over n x n pixels of (H, W, C), rounded; what is left over at the end is cut off.

    Smaller than n x n, a picture is left as it is.
    """
    from PIL import Image

    height, width = picture.shape[0] // n, picture.shape[1] // n
    if n == 1 or not height or not width:
        return picture
    result = np.empty((height, width, picture.shape[2]), np.uint8)
    rows = max(1, 2**22 // (n * width * n))
    for top in range(0, height, rows):
        band = np.ascontiguousarray(picture[n * top : n * min(top + rows, height), : n * width])
        image = Image.fromarray(band[..., 0] if band.shape[2] == 1 else band).reduce(n)
        result[top : top + rows] = np.asarray(image).reshape(-1, width, picture.shape[2])
    return result


def by_decoder(n: int) -> int:
    """The part of n, 1, 2, 4 or 8, that a JPEG decoder can do."""
    return next(part for part in (8, 4, 2, 1) if n % part == 0)
