"""Pictures as arrays: uint8 of shape (C, H, W), C = 3 in colour and 1 in grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError

Picture = NDArray[np.uint8]


def stored(path: Path) -> Picture:
    """Read a PNG that `prepare` wrote: uint8, (C, H, W).

    Raises:
        UserError: if the file is missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            array = np.asarray(image)
    except FileNotFoundError:
        raise UserError.of(
            path, "there is no such image", "get a fresh copy of the challenge"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError.of(
            path, "is a damaged PNG file", "get a fresh copy of the challenge"
        ) from error
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


def to_unit(picture: Picture) -> NDArray[np.float32]:
    """uint8 to float32 in [0, 1], same shape."""
    return picture.astype(np.float32) / np.float32(255)
