"""What a picture of 8 bits shows: whether it has greys at all, and any structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEW = 16
"""Grey levels that a photograph has more of."""
_NEARLY_ALL = 0.99
_BLACK, _WHITE = 16, 239
_COUNTED = 4_000_000
TILE = 16
DETAIL = 0.012
"""Standard deviation in a tile, range [0, 1]; the noise of a dark sky stays below."""
_FLAT = 0.05


def remarks(picture: NDArray[np.uint8]) -> list[str]:
    """What is odd about the values of a picture, (H, W, C): phrases, mostly none."""
    rows = picture[:: max(1, picture.size // _COUNTED)]  # as many as tell
    counts = np.bincount(rows.ravel(), minlength=256)
    said = []
    if np.count_nonzero(counts) <= FEW:
        said.append(f"hardly any grey levels, at most {FEW}")
    nearly_all = _NEARLY_ALL * counts.sum()
    if counts[: _BLACK + 1].sum() >= nearly_all:
        said.append("all but black")
    if counts[_WHITE:].sum() >= nearly_all:
        said.append("all but white")
    return said


def contrast(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The standard deviation of every whole tile of (H, W), in units of the range [0, 1]."""
    rows, columns = (side // TILE for side in plane.shape)
    whole = plane[: rows * TILE, : columns * TILE]
    tiles = whole.reshape(rows, TILE, columns, TILE) / 255
    deviations: NDArray[np.float64] = tiles.std(axis=(1, 3))
    return deviations


def is_flat(picture: NDArray[np.uint8]) -> bool:
    """Whether hardly any tile of (C, H, W) has detail in a colour: a sky, a wall, a blur."""
    highest = np.max([contrast(plane) for plane in picture], axis=0)
    return bool((highest > DETAIL).mean() < _FLAT)
