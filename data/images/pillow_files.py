"""Samples of what Pillow reads: PNG, JPEG, BMP, WebP, GIF, JPEG 2000, AVIF, PPM, TGA, ICO, HEIC.

Where Pillow would cut samples off at 8 bits, imagecodecs decodes them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.data.images import formats, headers, ranges
from challenge.data.images.limits import LARGEST, LARGEST_JPEG, LARGEST_WHOLE, refuse_huge
from challenge.data.images.samples import CHANNELS, Alpha, Colour, Samples
from challenge.data.images.shrink import Factor, by_decoder, whole

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's modes: colour, opacity, bits.
_MODES: dict[str, tuple[Colour, Alpha, int]] = {
    "1": ("grey", "none", 1),
    "L": ("grey", "none", 8),
    "LA": ("grey", "straight", 8),
    "La": ("grey", "premultiplied", 8),
    "I": ("grey", "none", 16),
    "I;16": ("grey", "none", 16),
    "I;16B": ("grey", "none", 16),
    "I;16L": ("grey", "none", 16),
    "F": ("grey", "none", 32),
    "RGB": ("rgb", "none", 8),
    "RGBA": ("rgb", "straight", 8),
    "RGBa": ("rgb", "premultiplied", 8),
    "CMYK": ("cmyk", "none", 8),
}
_SCALED = {"L;2": 85, "L;4": 17}
"""Raw modes of PNG whose samples Pillow multiplies, but not their transparent value."""
SEVERAL = "several pictures in one file, the {} one is read"
_BAND = 512


def read(path: Path, factor: Factor = whole, frame: int | None = None) -> Samples:
    """Decode a file.

    Args:
        factor: from height and width to the factor by which a picture is to be shrunk; the
            decoder does a part of it where a JPEG file has more than `LARGEST_WHOLE` pixels.
        frame: which page of a TIFF file; otherwise the largest of several pictures is taken, the
            first of equal ones.

    Raises:
        UserError: if it has too many pixels.
        Exception: whatever a damaged file leads Pillow to.
    """
    tiff = [] if frame is None else ["TIFF"]
    with _open(path, [*formats.pillow_formats(path), *tiff]) as image:
        remarks: tuple[str, ...] = ()
        if frame is None:
            frame, remarks = _largest(image)
        if frame:
            image.seek(frame)
        size = image.height, image.width
        part = by_decoder(factor(*size)) if image.format in ("JPEG", "MPO") else 1
        refuse_huge(path, *size, LARGEST_JPEG if part > 1 else LARGEST)
        if part == 1 or size[0] * size[1] <= LARGEST_WHOLE:
            return _samples(path, image, remarks)
        image.draft(None, (image.width // part, image.height // part))
        part = round(size[0] / image.height)
        refuse_huge(path, image.height, image.width, LARGEST)
        return replace(_samples(path, image, remarks), drafted=part, size=size)


def _samples(path: Path, image: Image, remarks: tuple[str, ...]) -> Samples:
    tiles = getattr(image, "tile", None)
    raw = str(tiles[0][3]) if tiles else ""
    profile, transparent = image.info.get("icc_profile"), image.info.get("transparency")
    orientation = headers.orientation(image)
    remarks += headers.foreign_colours(image)
    deep = _deep(path, image, raw)
    if deep is not None:
        values, bits = deep
        values = values[..., None] if values.ndim == 2 else values
        colour: Colour = "grey" if values.shape[2] < 3 else "rgb"
        alpha: Alpha = "none" if values.shape[2] in (1, 3) else "straight"
    else:
        image.load()
        if image.mode in ("P", "PA") or (image.mode == "1" and transparent is not None):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            transparent = None
        elif image.mode not in _MODES:
            image = image.convert("RGB")
        values = _array(image)
        if image.mode == "I":  # 16 bits in 32
            values = values.clip(0, 65535).astype(np.uint16)
        colour, alpha, bits = _MODES[image.mode]
    black, white, told = ranges.Range(0, 2**bits - 1)
    if bits > 8:
        black, white, told = ranges.of(values[..., : CHANNELS[colour]], bits, None, None)
    if transparent is not None and alpha == "none" and not isinstance(transparent, bytes):
        values = _with_transparent(values, np.array(transparent) * _SCALED.get(raw, 1), white)
        alpha = "straight"
    return Samples(values, colour, black, white, alpha, orientation, profile, remarks + told)


def _array(image: Image) -> NDArray[Any]:
    """(H, W, S), copied in bands: numpy would copy all of a picture twice."""
    width, height = image.size
    values: NDArray[Any] | None = None
    for top in range(0, height, _BAND):
        band = np.asarray(image.crop((0, top, width, min(top + _BAND, height))))
        if values is None:
            values = np.empty((height, *band.shape[1:]), band.dtype)
        values[top : top + len(band)] = band
    assert values is not None
    return values[..., None] if values.ndim == 2 else values


def _with_transparent(
    values: NDArray[Any], transparent: NDArray[Any], white: float
) -> NDArray[Any]:
    """With one more channel: 0 where a pixel has the value that a file calls transparent."""
    opaque = (values != transparent.astype(np.int64)).any(axis=2, keepdims=True)
    return np.concatenate([values, (opaque * white).astype(values.dtype)], axis=2)


def _deep(path: Path, image: Image, raw: str) -> tuple[NDArray[Any], int] | None:
    """Samples, and their bits, where a file has more of them than Pillow would keep."""
    import imagecodecs

    if image.format == "PNG" and ";16B" in raw and image.mode != "I;16":
        return imagecodecs.png_decode(path.read_bytes()), 16
    if image.format == "JPEG2000" and image.mode in ("RGB", "RGBA", "LA"):
        content = path.read_bytes()
        bits = (content[content.index(b"\xff\x4f\xff\x51") + 42] & 0x7F) + 1
        if bits > 8:
            return imagecodecs.jpeg2k_decode(content), bits
    return None


def _largest(image: Image) -> tuple[int, tuple[str, ...]]:
    """Which of the pictures in a file is taken, and what is said of it."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return 0, ()
    if image.format != "MPO":  # a film, of one size, or pictures of which one is the main one
        return image.tell(), (SEVERAL.format("main" if image.format == "HEIF" else "first"),)
    pixels = []
    for number in range(count):
        image.seek(number)
        pixels.append(image.width * image.height)
    image.seek(0)
    which = "largest" if max(pixels) > min(pixels) else "first"
    return pixels.index(max(pixels)), (SEVERAL.format(which),)


@contextmanager
def _open(path: Path, kinds: list[str]) -> Iterator[Image]:
    """Open a file; its pixels are counted by `refuse_huge`, and a PNG file's texts by nobody."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities of a file that can be read
            try:
                image = Image.open(path, formats=kinds)
            except ValueError as error:
                if "MAX_TEXT" not in str(error):
                    raise
                image = Image.open(io.BytesIO(_without_texts(path)), formats=["PNG"])
            with image:
                yield image
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _without_texts(path: Path) -> bytes:
    """A PNG file without its texts: Pillow unpacks them all, and refuses many."""
    content = path.read_bytes()
    kept, at = [content[:8]], 8
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(content[at:end])
        at = end
    return b"".join(kept)
