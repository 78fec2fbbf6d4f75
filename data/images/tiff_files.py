"""Samples of TIFF files, as their tags say what they are.

tifffile and imagecodecs read every depth, layout and compression; what is left to Pillow is
YCbCr, whose colours are fewer than its pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.images import pillow_files, ranges
from challenge.data.images.limits import refuse_huge
from challenge.data.images.pillow_files import SEVERAL
from challenge.data.images.samples import Samples
from challenge.data.images.tiff_colours import (
    COLOURS,
    CONVERT,
    PALETTE,
    WHITE_IS_0,
    YCBCR,
    lab,
    looked_up,
    meaning,
    tag,
)

_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy, a mask of transparency."""
_ORIENTATION, _PROFILE = 274, 34675
_LOWEST, _HIGHEST = (340, 280), (341, 281)
"""SMinSampleValue before MinSampleValue; SMaxSampleValue before MaxSampleValue."""


def read(path: Path) -> Samples:
    """Decode the largest page of a file, the first of equal ones.

    Raises:
        UserError: for what TIFF can hold and a picture is not, and too many pixels.
        Exception: whatever a damaged file leads tifffile to.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(path) as file:
        number, remarks = _largest(file)
        page: Any = file.pages[number]
        # Of a pixel, 8 bytes are usual at most; a few bytes of a file can claim any number of them.
        size = max(1, page.samplesperpixel * max(1, page.dtype.itemsize if page.dtype else 1) // 8)
        refuse_huge(path, page.imagelength * size, page.imagewidth)
        if page.photometric == YCBCR:
            read = pillow_files.read(path, frame=number)
            return replace(read, remarks=remarks + read.remarks)
        try:
            values = page.asarray()
        except (NotImplementedError, ValueError, KeyError) as error:
            if "not supported" not in str(error) and not isinstance(error, NotImplementedError):
                raise
            raise UserError.of(path, f"is not read, {_plain(error)}", CONVERT) from None
        return _samples(path, page, values, remarks)


def _largest(file: Any) -> tuple[int, tuple[str, ...]]:
    """Which page is taken, and what is said of it."""
    pages = list(file.pages)
    whole = [
        number
        for number, page in enumerate(pages)
        if not int(page.subfiletype or 0) & (_REDUCED | _MASK)
    ] or [0]
    pixels = {number: pages[number].imagelength * pages[number].imagewidth for number in whole}
    taken = max(whole, key=lambda number: pixels[number])
    stack = len(pages) == 1 and file.series and file.series[0].size > pages[0].size
    if len(pages) == 1 and not stack:
        return 0, ()
    others = {page.imagelength * page.imagewidth for page in pages} - {pixels[taken]}
    return taken, (SEVERAL.format("largest" if others else "first"),)


def _samples(path: Path, page: Any, values: NDArray[Any], remarks: tuple[str, ...]) -> Samples:
    photometric, bits = int(page.photometric), page.bitspersample
    if page.axes not in ("YX", "YXS", "SYX"):
        raise UserError.of(path, f"has axes {page.axes}, not one picture", CONVERT)
    if photometric not in COLOURS or values.dtype.kind == "c" or not isinstance(bits, int):
        kind = getattr(page.photometric, "name", photometric)
        what = f"its samples are {kind}, {values.dtype}, {bits} bits"
        raise UserError.of(path, f"is no picture in grey or colour, {what}", CONVERT)
    if values.ndim == 2:
        values = values[..., None]
    elif page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    colour, channels, alpha, told = meaning(path, page, values.shape[2])
    remarks += told
    opacity = None if alpha[0] == "none" else values[..., alpha[1]][..., None]
    values = values[..., :channels]
    if photometric == PALETTE:
        values, bits, colour = looked_up(page, values[..., 0]), 16, "rgb"
        if opacity is not None:
            opacity = opacity * (65535 / (2**page.bitspersample - 1))
    elif colour == "lab":
        values = lab(path, values, photometric)
        if opacity is not None and bits == 16:
            opacity = opacity >> 8
        bits = 8
    low, high = _declared(page, _LOWEST, min), _declared(page, _HIGHEST, max)
    if photometric == PALETTE or colour == "lab":
        extent = ranges.Range(0, 2**bits - 1)
    else:
        try:
            extent = ranges.of(values, bits, low, high)
        except ranges.Meaningless as error:
            raise UserError.of(path, str(error), CONVERT) from None
    black, white = extent.black, extent.white
    if opacity is not None:
        values = np.concatenate([values, opacity.astype(values.dtype)], axis=2)
    if photometric == WHITE_IS_0:
        black, white = white, black
    return Samples(
        values,
        colour,
        black,
        white,
        alpha[0],
        int(tag(page, _ORIENTATION) or 1),
        tag(page, _PROFILE),
        remarks + extent.remarks,
    )


def _declared(page: Any, numbers: tuple[int, ...], of: Callable[..., Any]) -> float | None:
    """The lowest or highest value that the file says its samples have."""
    for number in numbers:
        if (value := tag(page, number)) is not None:
            return float(of(np.atleast_1d(value)))
    return None


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
