"""Pictures as arrays: uint8 of shape (C, H, W), C = 3 in colour and 1 in grey.

Where 8 bits do not do they are float32, C = 1, or 2 for a real and an imaginary part.

`photograph` and `read` read what people have (`formats` has the table); `stored` reads what
`prepare` wrote. Free of torch.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data import reading
from challenge.data.images import colour, decode, levels, shrink
from challenge.data.layout import FLOATS, FRESH, PNG

Picture = NDArray[np.uint8]
Stored = NDArray[np.uint8] | NDArray[np.float32]
"""What a prepared challenge has of an image, (C, H, W): 8 bits, or floats."""
FLOATS_SUFFIX = ".npz"
"""Of a file of floats; pictures of 8 bits are PNG."""
_NAME = "x"
"""Of the array in a file of floats."""


@dataclass(frozen=True)
class Photograph:
    """A photograph as it was read."""

    picture: Picture
    shrunk: int
    """Its pixels are means over so many by so many."""
    remarks: tuple[str, ...]
    """What a person should know: phrases that read on after the name of the file."""


def photograph(path: Path) -> Picture:
    """A picture file as `read` reads it, not shrunk."""
    return read(path).picture


def read(path: Path, factor: shrink.Factor = shrink.whole, *, convert: bool = True) -> Photograph:
    """Read a picture file: (3, H, W) in colour, (1, H, W) where it is grey.

    Its values are scaled by the range that the file says, palettes and inks resolved, a colour
    profile converted to sRGB, transparent pixels laid over white, the orientation of the camera
    applied; of several pictures the largest is taken.

    Args:
        factor: from height and width to the n of the n x n pixels that are averaged.
        convert: whether to convert a colour profile.

    Raises:
        UserError: if the file is empty, damaged, no picture, of a kind that is not read, or too
            large.
    """
    samples = decode.read(path, factor)
    n = factor(*samples.whole)
    pixels, remarks = colour.picture(samples, convert=convert)
    remarks += levels.remarks(pixels)  # before means make more levels of few
    picture = _planes(shrink.mean(pixels, n // samples.drafted))
    return Photograph(picture, n, tuple(remarks))


def adapt(picture: Picture, channels: int) -> Picture:
    """Bring a picture to 1 channel (BT.601 luma) or 3 (grey repeated)."""
    if len(picture) == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=0)
    luma = np.tensordot(colour.LUMA.astype(np.float32), picture.astype(np.float32), axes=1)
    return np.rint(luma).astype(np.uint8)[None]


def is_grey(picture: Picture) -> bool:
    """Whether a picture has no colour, however many channels it has."""
    return len(picture) == 1 or bool((picture == picture[:1]).all())


def centre(picture: Picture, height: int, width: int) -> Picture:
    """The part about the centre, at most `height` x `width` pixels."""
    top = max(0, (picture.shape[1] - height) // 2)
    left = max(0, (picture.shape[2] - width) // 2)
    return np.ascontiguousarray(picture[:, top : top + height, left : left + width])


def stored(path: Path) -> Stored:
    """Read an image that `prepare` wrote, (C, H, W): uint8 of a PNG, float32 of an `.npz`.

    Raises:
        UserError: if the file is missing or damaged.
    """
    return _floats(path) if path.suffix == FLOATS_SUFFIX else _bytes(path)


def _bytes(path: Path) -> Picture:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return _planes(np.asarray(image))
    except FileNotFoundError:
        raise UserError.of(path, "there is no such image", FRESH) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError.of(path, "is a damaged PNG file", FRESH) from error


def _floats(path: Path) -> NDArray[np.float32]:
    try:
        with np.load(io.BytesIO(reading.bounded(path, reading.ARRAYS)), allow_pickle=False) as file:
            x: NDArray[np.float32] = file[_NAME]
        if x.dtype != np.float32 or x.ndim != 3 or not np.isfinite(x).all():
            raise ValueError
    except FileNotFoundError:
        raise UserError.of(path, "there is no such image", FRESH) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError.of(path, "is a damaged file of floats", FRESH) from error
    return x


def encode(picture: Stored) -> bytes:
    """A picture as a file, PNG or for floats `.npz`; equal ones give equal bytes.

    Of PNG, that is so with the same Pillow.
    """
    from PIL import Image

    buffer = io.BytesIO()
    if picture.dtype == np.float32:
        np.savez(buffer, **{_NAME: picture})  # type: ignore[arg-type]
        return buffer.getvalue()
    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def suffix(picture: Stored) -> str:
    """What follows the id in the name of the file that `encode` makes."""
    return FLOATS if picture.dtype == np.float32 else PNG


def to_unit(picture: Stored) -> NDArray[np.float32]:
    """uint8 to float32 in [0, 1], same shape; floats are as they are."""
    if picture.dtype == np.float32:
        return np.asarray(picture, np.float32)
    return picture.astype(np.float32) / np.float32(255)


def _planes(array: NDArray[Any]) -> Picture:
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(planes)
