"""From samples to a picture: 8 bits, grey or sRGB, opaque, upright. One way for every file.

    u    = (v - black) / (white - black), clipped to [0, 1]          range, white first or last
    u    = u / a                              where the file holds u a        premultiplied
    rgb  = (1 - c) (1 - k)                    or by the colour profile        inks
    rgb  = rgb a + 1 - a                                                      over white
    v    = round(255 rgb)

Done in bands of rows, so that no copy of the whole picture in floats is ever made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.data.images import profiles
from challenge.data.images.orientation import turn
from challenge.data.images.samples import Alpha, Samples

Unit = NDArray[np.float64]
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_BAND = 2**20
"""Pixels that are converted at a time."""
_CLEAR = "opacity is 0 everywhere, taken for opaque"


def picture(samples: Samples, *, convert: bool = True) -> tuple[NDArray[np.uint8], list[str]]:
    """Make a picture of samples.

    Args:
        samples: as stored in a file.
        convert: whether to convert a colour profile to sRGB.

    Returns:
        (H, W, 1) where it is grey, else (H, W, 3), which may be a view; and what a person should
        know, as phrases.
    """
    remarks = list(samples.remarks)
    values, alpha = samples.values, samples.alpha
    if alpha != "none" and not values[..., -1].any():
        remarks.append(_CLEAR)
        values, alpha = values[..., :-1], "none"
    to_srgb, told = profiles.to_srgb(samples.colour, samples.profile if convert else None)
    remarks += told
    plain = samples.colour in ("grey", "rgb") and to_srgb is None and alpha == "none"
    if plain and values.dtype == np.uint8 and (samples.black, samples.white) == (0, 255):
        return turn(values, samples.orientation), remarks
    height, width = values.shape[:2]
    channels = 1 if samples.colour == "grey" else 3
    result = np.empty((height, width, channels), np.uint8)
    rows = max(1, _BAND // width)
    full = 0.0
    if alpha != "none":
        full = _full(values[..., -1], max(samples.black, samples.white))
    for top in range(0, height, rows):
        band = values[top : top + rows]
        result[top : top + rows] = np.rint(255 * _unit(band, samples, alpha, full, to_srgb))
    return turn(result, samples.orientation), remarks


def luminance(samples: Samples) -> Unit:
    """The grey values of samples, (H, W) in [0, 1], not rounded; opacity is left aside."""
    opaque = samples.values if samples.alpha == "none" else samples.values[..., :-1]
    to_srgb, _ = profiles.to_srgb(samples.colour, None)
    unit = _unit(opaque, samples, "none", 0.0, to_srgb)
    grey: Unit = unit[..., 0] if unit.shape[2] == 1 else unit @ LUMA
    return turn(grey, samples.orientation)


def _unit(
    values: NDArray[Any],
    samples: Samples,
    alpha: Alpha,
    full: float,
    to_srgb: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None,
) -> Unit:
    black, white = float(samples.black), float(samples.white)
    colours = values if alpha == "none" else values[..., :-1]
    unit: Unit = ((colours.astype(np.float64) - black) / (white - black)).clip(0, 1)
    opacity: Unit | None = None
    if alpha != "none":
        opacity = (values[..., -1:].astype(np.float64) / full).clip(0, 1)
    if alpha == "premultiplied" and opacity is not None:
        unit = (unit / np.where(opacity > 0, opacity, 1)).clip(0, 1)
    if to_srgb is not None:
        unit = to_srgb(np.rint(unit * 255).astype(np.uint8)) / 255.0
    elif samples.colour == "cmyk":
        unit = (1 - unit[..., :3]) * (1 - unit[..., 3:])
    if opacity is not None:
        unit = unit * opacity + 1 - opacity
    return unit


def _full(stored: NDArray[Any], white: float) -> float:
    """The value of full opacity, which may have another range than the colours."""
    largest = float(stored.max())
    if stored.dtype.kind == "f":
        return 1.0 if largest <= 1 else max(white, largest)
    return white if largest <= white else float(np.iinfo(stored.dtype).max)
