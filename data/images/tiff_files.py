"""Samples of TIFF files, as their tags say what they are.

tifffile and imagecodecs read every depth, layout and compression; what is left to Pillow is
YCbCr, whose colours are fewer than its pixels.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.images import pillow_files, ranges
from challenge.data.images.limits import refuse_huge
from challenge.data.images.pillow_files import SEVERAL
from challenge.data.images.samples import CHANNELS, Alpha, Colour, Samples

_CONVERT = "convert it to PNG"
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_CIELAB, _ICCLAB = 8, 9
_COLOURS: dict[int, Colour] = {
    _WHITE_IS_0: "grey",
    _BLACK_IS_0: "grey",
    _RGB: "rgb",
    _PALETTE: "grey",  # an index, one sample
    _INKS: "cmyk",
    _CIELAB: "lab",
    _ICCLAB: "lab",
}
_ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy, a mask of transparency."""
_TAGS = {"profile": 34675, "inks": 332, "orientation": 274, "low": (340, 280), "high": (341, 281)}


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
        if page.photometric == _YCBCR:
            read = pillow_files.read(path, frame=number)
            return replace(read, remarks=remarks + read.remarks)
        try:
            values = page.asarray()
        except (NotImplementedError, ValueError, KeyError) as error:
            if "not supported" not in str(error) and not isinstance(error, NotImplementedError):
                raise
            raise UserError.of(path, f"is not read, {_plain(error)}", _CONVERT) from None
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
        raise UserError.of(path, f"has axes {page.axes}, not one picture", _CONVERT)
    if photometric not in _COLOURS or values.dtype.kind == "c" or not isinstance(bits, int):
        kind = getattr(page.photometric, "name", photometric)
        what = f"its samples are {kind}, {values.dtype}, {bits} bits"
        raise UserError.of(path, f"is no picture in grey or colour, {what}", _CONVERT)
    if values.ndim == 2:
        values = values[..., None]
    elif page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    colour, channels, alpha, told = _meaning(path, page, values.shape[2])
    remarks += told
    opacity = None if alpha[0] == "none" else values[..., alpha[1]][..., None]
    values = values[..., :channels]
    if photometric == _PALETTE:
        values, bits, colour = _looked_up(page, values[..., 0]), 16, "rgb"
        if opacity is not None:
            opacity = opacity * (65535 / (2**page.bitspersample - 1))
    elif colour == "lab":
        values = _lab(path, values, photometric)
        if opacity is not None and bits == 16:
            opacity = opacity >> 8
        bits = 8
    low, high = (_declared(page, tag) for tag in ("low", "high"))
    if photometric == _PALETTE or colour == "lab":
        extent = ranges.Range(0, 2**bits - 1)
    else:
        try:
            extent = ranges.of(values, bits, low, high)
        except ranges.Meaningless as error:
            raise UserError.of(path, str(error), "convert it to PNG") from None
    black, white = extent.black, extent.white
    if opacity is not None:
        values = np.concatenate([values, opacity.astype(values.dtype)], axis=2)
    if photometric == _WHITE_IS_0:
        black, white = white, black
    return Samples(
        values,
        colour,
        black,
        white,
        alpha[0],
        int(_tag(page, _TAGS["orientation"]) or 1),
        _tag(page, _TAGS["profile"]),
        remarks + extent.remarks,
    )


def _meaning(
    path: Path, page: Any, count: int
) -> tuple[Colour, int, tuple[Alpha, int], tuple[str, ...]]:
    """The colour, its channels, the opacity with its channel, and what a person should know."""
    colour = _COLOURS[int(page.photometric)]
    channels = CHANNELS[colour]
    kinds = [int(kind) for kind in page.extrasamples]
    remarks: tuple[str, ...] = ()
    if (
        colour == "grey"
        and page.photometric == _BLACK_IS_0
        and count in (3, 4)
        and not any(kinds[:2])
    ):
        colour, channels = "rgb", 3
        remarks = ("said to be grey, its channels are taken for red, green and blue",)
        kinds = kinds[2:]
    if colour == "cmyk" and (_tag(page, _TAGS["inks"]) or 1) != 1:
        raise UserError.of(path, "has other inks than cyan, magenta, yellow and black", _CONVERT)
    further = count - channels
    if further < 0 or further > 3 or (colour == "grey" and further > 1 and not any(kinds)):
        raise UserError.of(path, f"has {count} channels, which are no {colour} picture", _CONVERT)
    if not kinds and further == 1:  # no word about a further channel: it is the opacity
        kinds = [2]
    for place, kind in enumerate(kinds[:further]):
        if kind in _ALPHAS:
            left_out = further > 1
            alpha = (_ALPHAS[kind], channels + place)
            break
    else:
        left_out, alpha = further > 0, ("none", 0)
    if left_out:
        remarks += ("channels beside colour and opacity, left out",)
    return colour, channels, alpha, remarks


def _looked_up(page: Any, index: NDArray[Any]) -> NDArray[np.uint16]:
    colours = np.asarray(page.colormap).T  # (entries, 3), 16 bits
    if colours.max() < 256:  # written by programs that know 8 bits only
        colours = colours * 257
    looked_up: NDArray[np.uint16] = colours.astype(np.uint16)[index]
    return looked_up


def _lab(path: Path, values: NDArray[Any], photometric: int) -> NDArray[np.uint8]:
    """L, a, b in 8 bits: L of 255, a and b signed, as two's complement."""
    if values.dtype.kind == "f" or values.dtype.itemsize > 2:
        raise UserError.of(path, f"holds Lab colours as {values.dtype}", _CONVERT)
    deep = values.dtype.itemsize == 2
    lightness, colours = values[..., :1], values[..., 1:]
    if photometric == _ICCLAB:  # counted from the middle; 16 bits: L of 65280
        offset = 32768 if deep else 128
        signed = colours.astype(np.int32) - offset
        full = 65280 if deep else 255
    else:
        signed = colours.view(np.int16 if deep else np.int8).astype(np.int32)
        full = 65535 if deep else 255
    signed = np.rint(signed / (256 if deep else 1)).clip(-128, 127)
    whole = np.rint(lightness * (255.0 / full)).clip(0, 255)
    return np.concatenate([whole.astype(np.uint8), signed.astype(np.int8).view(np.uint8)], axis=2)


def _declared(page: Any, name: str) -> float | None:
    """The lowest or highest value that the file says its samples have."""
    for tag in _TAGS[name]:  # type: ignore[attr-defined]
        if (value := _tag(page, tag)) is not None:
            return float((min if name == "low" else max)(np.atleast_1d(value)))
    return None


def _tag(page: Any, number: Any) -> Any:
    tag = page.tags.get(number)
    return None if tag is None else tag.value


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
