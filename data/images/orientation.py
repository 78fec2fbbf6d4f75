"""How the camera was held: the eight orientations of EXIF and TIFF, tag 274."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SWAPPED = (5, 6, 7, 8)
"""Orientations in which the stored rows are the columns of the picture."""


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored rows and columns, (H, W, ...), upright; a view, never a copy.

    A value that is not one of 1 to 8 turns nothing.
    """
    if orientation in SWAPPED:
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
