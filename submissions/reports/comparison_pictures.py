"""Several methods on the same images in one picture: measured, every method, truth.

Each image has three lines: the whole pictures, one region of them four times as large, and the
errors |x_hat - x|, the mean over the channels. The region is the one in which the methods differ
most; the errors of an image share one scale, which is stated. Its kernel or mask is in the place
below the measurement, which has no error: it may be smaller than the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.challenge import Challenge
from challenge.data.images.contact_sheet import to_picture
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.comparison_rows import (
    Array,
    Region,
    Row,
    enlargement,
    row_of,
    shown_size,
    zoom_of,
)
from challenge.submissions.scoring.pictures import CAPTION, INK, MARGIN, PAPER, write_page

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST = 210
"""Pixels of a column: a caption has room in it."""
FRAME = (255, 210, 0)


def draw(
    path: Path,
    compared: Sequence[Compared],
    challenge: Challenge,
    images: Sequence[tuple[str, str]],
) -> None:
    """Draw a comparison and write it as a PNG, whole or not at all.

    Args:
        path: of the PNG; one that is there is replaced.
        compared: the methods, with their reconstructions.
        images: ids of val, each with the reason why it is shown, which may be empty.
    """

    rows = [_draw_row(row_of(each, reason, compared, challenge)) for each, reason in images]
    write_page(rows, path)


def _draw_row(row: Row) -> Image:
    """One image: a title, then three lines of pictures, each with its captions."""
    from PIL import Image

    _, height, width = row.truth.shape
    tall, wide = shown_size(height, width)
    columns = [row.y, *row.estimates, row.truth]
    step = max(wide, LEAST) + MARGIN
    page = Image.new(
        "RGB",
        (step * len(columns) + MARGIN, CAPTION + 3 * (tall + CAPTION + MARGIN) + MARGIN),
        PAPER,
    )
    _write(page, (MARGIN, MARGIN // 2), row.title, 14)
    lefts = [MARGIN + step * number for number in range(len(columns))]
    top = CAPTION + MARGIN
    for left, array, caption in zip(lefts, columns, row.captions, strict=True):
        page.paste(_whole(array, row.region), (left, top))
        _write(page, (left, top + tall), caption)
    top += tall + CAPTION
    y0, x0, high, broad = row.region
    times = zoom_of(height, width)
    for left, array in zip(lefts, columns, strict=True):
        detail = _image(to_picture(array[:, y0 : y0 + high, x0 : x0 + broad]))
        page.paste(_resized(detail, broad * times, high * times, sharp=True), (left, top))
    _write(page, (MARGIN, top + tall), f"x{times}")
    top += tall + CAPTION
    if row.portrait is not None:
        picture, caption = row.portrait
        longest, room = max(picture.shape), min(tall, wide)
        times = max(1, room // longest)
        high, broad = (round(side * min(times, room / longest)) for side in picture.shape)
        page.paste(
            _resized(_image(to_picture(picture[None])), broad, high, sharp=longest <= room),
            (lefts[0], top),
        )
        _write(page, (lefts[0], top + tall), caption)
    for left, error, mean in zip(lefts[1:-1], row.errors, row.means, strict=True):
        page.paste(_error(error, row), (left, top))
        _write(page, (left, top + tall), f"mean error {mean:.4f}")
    _legend(page, (lefts[-1], top), row.scale, tall)
    return page


def _whole(array: Array, region: Region) -> Image:
    """A picture with the region's frame."""
    from PIL import ImageDraw

    _, height, width = array.shape
    tall, wide = shown_size(height, width)
    picture = _resized(_image(to_picture(array)), wide, tall, sharp=enlargement(height, width) > 1)
    scale = wide / width
    y0, x0, high, broad = (round(side * scale) for side in region)
    box = x0, y0, max(x0, x0 + broad - 1), max(y0, y0 + high - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=FRAME)
    return picture


def _error(error: Array, row: Row) -> Image:
    """An error in colours; pixels that are not scored are white."""
    height, width = error.shape
    tall, wide = shown_size(height, width)
    inner = np.s_[row.crop : height - row.crop, row.crop : width - row.crop]
    pixels = np.full((height, width, 3), PAPER, np.uint8)
    pixels[inner] = _colours()[to_picture(error / row.scale)][inner]
    return _resized(_image(pixels.transpose(2, 0, 1)), wide, tall, sharp=height < tall)


def _legend(page: Image, corner: tuple[int, int], scale: float, tall: int) -> None:
    """What the colours of the errors mean: a bar from `scale` at the top down to 0."""
    left, top = corner
    ramp = np.linspace(255, 0, tall).round().astype(np.uint8)
    page.paste(_resized(_image(_colours()[ramp][None].transpose(2, 1, 0)), 16, tall), corner)
    _write(page, (left + 22, top - 3), f"{scale:g} and more")
    _write(page, (left + 22, top + tall // 2 - CAPTION // 2), "|x_hat - x|")
    _write(page, (left + 22, top + tall - CAPTION + 3), "0")


@cache
def _colours() -> NDArray[np.uint8]:
    """256 colours from black to white, ever brighter, that print well: shape (256, 3)."""
    from matplotlib import colormaps

    table = colormaps["inferno"](np.arange(256), bytes=True)
    return np.ascontiguousarray(table[:, :3])


def _image(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image

    colour = np.broadcast_to(pixels.transpose(1, 2, 0), (*pixels.shape[1:], 3))
    return Image.fromarray(np.ascontiguousarray(colour))


def _resized(picture: Image, wide: int, tall: int, *, sharp: bool = False) -> Image:
    from PIL.Image import Resampling

    return picture.resize((wide, tall), Resampling.NEAREST if sharp else Resampling.LANCZOS)


def _write(page: Image, place: tuple[int, int], text: str, size: int = 12) -> None:
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    ImageDraw.Draw(page).text((place[0], place[1] + 3), text, fill=INK, font=font)
