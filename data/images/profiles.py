"""Colour profiles: what a file means by its values, converted to sRGB by LittleCMS.

Relative colorimetric with black point compensation, in 8 bits. A profile that changes no value by
more than 1 is sRGB by another name, and leaves the pixels as they are.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.data.images.samples import Colour

Convert = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

_MODES: dict[Colour, str] = {"grey": "L", "rgb": "RGB", "cmyk": "CMYK", "lab": "LAB"}
_SPACES = {"grey": "GRAY", "rgb": "RGB", "cmyk": "CMYK"}
_BROKEN = "a colour profile that cannot be read, values are taken as they are"
_FOREIGN = "a colour profile of other colours than its own, values are taken as they are"
_CONVERTED = "a colour profile, converted to sRGB"


def to_srgb(colour: Colour, profile: bytes | None) -> tuple[Convert | None, list[str]]:
    """How to convert 8-bit values (H, W, S) to sRGB or grey; None where nothing changes.

    Lab needs no profile of a file's. The phrases say what a person should know.
    """
    if colour == "lab":
        return _convert(colour, None), []
    if not profile:
        return None, []
    return _by(colour, profile)


@lru_cache(maxsize=8)
def _by(colour: Colour, profile: bytes) -> tuple[Convert | None, list[str]]:
    from PIL import ImageCms

    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
        if space != _SPACES[colour]:
            return None, [_FOREIGN]
        convert = _convert(colour, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, [_BROKEN]
    if colour == "cmyk":
        return convert, [_CONVERTED]
    probe = _probe(1 if colour == "grey" else 3)
    if np.abs(convert(probe).astype(int) - probe).max() <= 1:
        return None, []
    return convert, [_CONVERTED]


def _convert(colour: Colour, profile: bytes | None) -> Convert:
    from PIL import Image, ImageCms

    given: Any = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
    mode = _MODES[colour]
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if colour == "grey":  # its shortcut for grey is 9 levels off where a curve is steep
        flags |= ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(given),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags,
    )

    def convert(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = values.shape[:2]
        image = Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None
        return np.asarray(converted)

    if colour != "grey":
        return convert
    table = convert(_probe(1))[0, :, 1]  # all three are equal
    return lambda values: table[values]


def _probe(channels: int) -> NDArray[np.uint8]:
    """Values spread over all that there are: (1, N, channels)."""
    if channels == 1:
        return np.arange(256, dtype=np.uint8).reshape(1, 256, 1)
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    return np.ascontiguousarray(grid)
