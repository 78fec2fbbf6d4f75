"""What the samples of a TIFF page mean: their colour and opacity, by its tags.

PhotometricInterpretation names the colour, SamplesPerPixel counts the channels, ExtraSamples says
what those beyond the colour are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.images.samples import CHANNELS, Alpha, Colour

CONVERT = "convert it to PNG"
WHITE_IS_0, _BLACK_IS_0, _RGB, PALETTE, _INKS, YCBCR = 0, 1, 2, 3, 5, 6
_CIELAB, _ICCLAB = 8, 9
COLOURS: dict[int, Colour] = {
    WHITE_IS_0: "grey",
    _BLACK_IS_0: "grey",
    _RGB: "rgb",
    PALETTE: "grey",  # an index, one sample
    _INKS: "cmyk",
    _CIELAB: "lab",
    _ICCLAB: "lab",
}
_ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
_INK_SET = 332


def meaning(
    path: Path, page: Any, count: int
) -> tuple[Colour, int, tuple[Alpha, int], tuple[str, ...]]:
    """The colour, its channels, the opacity with its channel, and what a person should know."""
    colour = COLOURS[int(page.photometric)]
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
    if colour == "cmyk" and (tag(page, _INK_SET) or 1) != 1:
        raise UserError.of(path, "has other inks than cyan, magenta, yellow and black", CONVERT)
    further = count - channels
    if further < 0 or further > 3 or (colour == "grey" and further > 1 and not any(kinds)):
        raise UserError.of(path, f"has {count} channels, which are no {colour} picture", CONVERT)
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


def looked_up(page: Any, index: NDArray[Any]) -> NDArray[np.uint16]:
    """The colours of a palette in 16 bits: (H, W, 3) for indices (H, W)."""
    colours = np.asarray(page.colormap).T  # (entries, 3), 16 bits
    if colours.max() < 256:  # written by programs that know 8 bits only
        colours = colours * 257
    found: NDArray[np.uint16] = colours.astype(np.uint16)[index]
    return found


def lab(path: Path, values: NDArray[Any], photometric: int) -> NDArray[np.uint8]:
    """L, a, b in 8 bits: L of 255, a and b signed, as two's complement."""
    if values.dtype.kind == "f" or values.dtype.itemsize > 2:
        raise UserError.of(path, f"holds Lab colours as {values.dtype}", CONVERT)
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


def tag(page: Any, number: int) -> Any:
    """A tag's value; None where the page has none. A damaged one is an error."""
    found = page.tags.get(number)
    return None if found is None else found.value
