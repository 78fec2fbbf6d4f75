"""Several methods on the same images in one picture: measured, every method, truth.

Each image has three lines: the whole pictures, one region of them four times as large, and the
errors |x_hat - x|, the mean over the channels. The region is the one in which the methods differ
most; the errors of an image share one scale, which is stated. Its kernel or mask is in the place
below the measurement, which has no error: it may be smaller than the image.

The page is 16:9, as slides are; images stand side by side or below each other as fills it best,
and letters are so large that they can be read on a slide of 1920 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.challenge import Challenge
from challenge.data.images.contact_sheet import to_picture
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.comparison_rows import (
    CAPTIONS,
    Array,
    Region,
    Row,
    enlargement,
    row_of,
    shown_size,
    zoom_of,
)
from challenge.submissions.scoring.pictures import INK, MARGIN, PAPER, write_page

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST = 250
"""Pixels of a column: a caption has room in it."""
FRAME = (255, 210, 0)
LETTER = 24
"""Pixels of a letter."""
LINE = 30
"""Pixels of a line of a caption."""
BROAD, HIGH = 16, 9
"""The page's sides."""
WIDEST = 3800
"""Pixels of a page on which, shown 1920 wide, letters are still 12 pixels tall."""


@dataclass(frozen=True)
class Plan:
    """How columns and images stand on the page; all of one size."""

    columns: int
    """Of an image: measured, every method, truth."""
    images: int
    step: int
    """From one column to the next, in pixels."""
    strip: int
    """Height of a column, in pixels."""
    line: int
    """Columns in a line of an image; more of them go below."""
    across: int
    """Images side by side."""

    @property
    def block(self) -> tuple[int, int]:
        """Width and height of one image."""
        lines = -(-self.columns // self.line)
        return self.step * self.line + 2 * MARGIN, lines * self.strip + LINE + 2 * MARGIN

    @property
    def page(self) -> tuple[int, int]:
        """Width and height of the smallest page of 16:9 that all images fit on."""
        wide, tall = self.block
        width, height = self.across * wide, -(-self.images // self.across) * tall
        unit = max(-(-width // BROAD), -(-height // HIGH))
        return unit * BROAD, unit * HIGH

    @property
    def filled(self) -> float:
        """Share of the page with pictures on it."""
        width, height = self.page
        return self.columns * self.images * self.step * self.strip / (width * height)


def plan(columns: int, images: int, size: tuple[int, int]) -> Plan:
    """The arrangement that fills its page best.

    Args:
        columns: of an image.
        images: how many there are.
        size: height and width of the largest one.
    """
    tall, wide = shown_size(*size)
    strip = 3 * (tall + MARGIN) + (CAPTIONS + 1) * LINE + MARGIN
    step = max(wide, LEAST) + MARGIN
    plans = [
        Plan(columns, images, step, strip, line, across)
        for line in range(min(columns, 3), columns + 1)
        for across in range(1, images + 1)
    ]
    # Of equal pages, the one with lines of equal length.
    return max(plans, key=lambda each: (round(each.filled, 2), -each.line))


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
    from PIL import Image

    rows = [row_of(each, reason, compared, challenge) for each, reason in images]
    how = plan(len(compared) + 2, len(rows), _largest(images, challenge))
    page = Image.new("RGB", how.page, PAPER)
    (wide, tall), (width, height) = how.block, how.page
    left = (width - how.across * wide) // 2
    top = (height - -(-len(rows) // how.across) * tall) // 2
    for number, row in enumerate(rows):
        below, beside = divmod(number, how.across)
        page.paste(_draw_row(row, how), (left + beside * wide, top + below * tall))
    write_page([page], path)


def fitting(
    images: Sequence[tuple[str, str]], compared: Sequence[Compared], challenge: Challenge
) -> list[tuple[str, str]]:
    """As many of the images, from the first on, as fill a page best and can be read on it."""
    size = _largest(images, challenge)
    plans = [plan(len(compared) + 2, count + 1, size) for count in range(len(images))]
    readable = [each for each in plans if each.page[0] <= WIDEST] or plans[:1]
    # Of pages that are about as full, the one with more images.
    best = max(readable, key=lambda each: (round(each.filled, 1), each.images))
    return [*images[: best.images]]


def _largest(images: Sequence[tuple[str, str]], challenge: Challenge) -> tuple[int, int]:
    shapes = [challenge.truth(each).shape for each, _ in images]
    return max(each[1] for each in shapes), max(each[2] for each in shapes)


def _draw_row(row: Row, how: Plan) -> Image:
    """One image: a title, then its columns."""
    from PIL import Image

    page = Image.new("RGB", how.block, PAPER)
    _, height, width = row.truth.shape
    room = how.block[0] - 2 * MARGIN
    _write(page, (MARGIN, 0), _title(row.title, f"   frame x{zoom_of(height, width)}", room))
    for number in range(how.columns):
        below, beside = divmod(number, how.line)
        corner = MARGIN + beside * how.step, LINE + MARGIN + below * how.strip
        page.paste(_column(row, number, how), corner)
    return page


def _title(text: str, end: str, room: int) -> str:
    """Both texts in so many pixels; the first one is cut where they are longer."""
    from PIL import ImageFont

    font = ImageFont.load_default(LETTER)
    kept = text
    while kept and font.getlength((kept if kept == text else f"{kept}..") + end) > room:
        kept = kept[:-1]
    return (kept if kept == text else f"{kept}..") + end


def _column(row: Row, number: int, how: Plan) -> Image:
    """The measurement, an estimate or the truth: whole, magnified, and its error."""
    from PIL import Image

    page = Image.new("RGB", (how.step, how.strip), PAPER)
    _, height, width = row.truth.shape
    tall, wide = shown_size(height, width)
    array = [row.y, *row.estimates, row.truth][number]
    page.paste(_whole(array, row.region), (0, 0))
    for line, words in enumerate(row.captions[number]):
        _write(page, (0, tall + line * LINE), words)
    top = tall + CAPTIONS * LINE + MARGIN
    y0, x0, high, broad = row.region
    times = zoom_of(height, width)
    detail = _image(to_picture(array[:, y0 : y0 + high, x0 : x0 + broad]))
    page.paste(_resized(detail, broad * times, high * times, sharp=True), (0, top))
    top += tall + MARGIN
    if number == len(row.estimates) + 1:
        _legend(page, (0, top), row.scale, tall)
    elif number:
        page.paste(_error(row.errors[number - 1], row), (0, top))
        _write(page, (0, top + tall), f"mean error {row.means[number - 1]:.4f}")
    elif row.portrait is not None:
        picture, caption = row.portrait
        longest, room = max(picture.shape), min(tall, wide)
        larger = max(1, room // longest)
        high, broad = (round(side * min(larger, room / longest)) for side in picture.shape)
        shown = _image(to_picture(picture[None]))
        page.paste(_resized(shown, broad, high, sharp=longest <= room), (0, top))
        _write(page, (0, top + tall), caption)
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
    page.paste(_resized(_image(_colours()[ramp][None].transpose(2, 1, 0)), 24, tall), corner)
    _write(page, (left + 34, top - 3), f"{scale:g} and more")
    _write(page, (left + 34, top + tall // 2 - LINE // 2), "|x_hat - x|")
    _write(page, (left + 34, top + tall - LINE), "0")


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


def _write(page: Image, place: tuple[int, int], text: str, size: int = LETTER) -> None:
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    ImageDraw.Draw(page).text((place[0], place[1] + 3), text, fill=INK, font=font)
