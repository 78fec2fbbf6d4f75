"""Several methods on the same images in one picture: blurred, every method, truth.

Each image has three lines: the whole pictures, one region of them four times as large, and the
errors |x_hat - x|, the mean over the channels. The region is the one in which the methods differ
most; the errors of an image share one scale, which is stated. Its kernel is in the place below
the blurred picture, which has no error: a valid blur is smaller than the image.
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
from challenge.submissions.scoring.pictures import CAPTION, INK, MARGIN, PAPER, write_page

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 256
"""Pixels of the longer side of a picture, at most; small ones are enlarged by a whole factor."""
ZOOM = 4
"""A region is so many times larger than in the picture above it, if that is not reduced."""
LEAST = 210
"""Pixels of a column: a caption has room in it."""
SHARE = 99
"""Per cent of an image's errors that lie within its scale."""
FRAME = (255, 210, 0)

Array = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""Top, left, height, width in pixels of the image."""


@dataclass(frozen=True)
class Row:
    """Everything that is shown of one image; arrays have shape (C, H, W)."""

    title: str
    y: Array
    """As large as the truth: what a valid blur does not see is white."""
    kernel: Array
    truth: Array
    estimates: tuple[Array, ...]
    captions: tuple[str, ...]
    """Of the blurred picture, the estimates and the truth."""
    region: Region
    errors: tuple[Array, ...]
    """Of the estimates, shape (H, W)."""
    means: tuple[float, ...]
    """Of the errors, over the pixels that are scored."""
    crop: int
    """Pixels at every side that are not scored."""
    scale: float
    """The error from which on the colour is the brightest."""


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

    rows = [_draw_row(_row(each, reason, compared, challenge)) for each, reason in images]
    write_page(rows, path)


def _row(identity: str, reason: str, compared: Sequence[Compared], challenge: Challenge) -> Row:
    from challenge.submissions.scoring import metrics

    measurement, truth = challenge.measurement("val", identity), challenge.truth(identity)
    crop = challenge.crop
    estimates = tuple(np.load(each.folder / f"{identity}.npy").clip(0, 1) for each in compared)
    errors = tuple(np.abs(each - truth).mean(axis=0) for each in estimates)
    inner = np.s_[crop : truth.shape[1] - crop, crop : truth.shape[2] - crop]
    scale = _rounded(max(float(np.percentile(each[inner], SHARE)) for each in errors))
    captions = [f"sigma {measurement.sigma:.3g}"]
    if measurement.y.shape == truth.shape:
        psnr = metrics.psnr(estimate=measurement.y, truth=truth, crop=crop)
        captions = [f"{psnr:.2f} dB, {captions[0]}"]
    levels = [
        next(image.psnr for image in each.scores.images if image.id == identity)
        for each in compared
    ]
    for level in levels:
        assert level is not None and levels[0] is not None
        over = f" ({level - levels[0]:+.2f})" if len(captions) > 1 else ""
        captions.append(f"{level:.2f} dB{over}")
    return Row(
        title=f"{identity}  {reason}",
        y=_framed(measurement.y, truth.shape),
        kernel=measurement.kernel,
        truth=truth,
        estimates=estimates,
        captions=(
            f"blurred {captions[0]}",
            *(
                f"{_short(each.candidate.name)} {caption}"
                for each, caption in zip(compared, captions[1:], strict=True)
            ),
            "truth",
        ),
        region=_region(estimates, errors, crop),
        errors=errors,
        means=tuple(float(each[inner].mean(dtype=np.float64)) for each in errors),
        crop=crop,
        scale=scale,
    )


def _framed(y: Array, shape: tuple[int, ...]) -> Array:
    """A measurement in the middle of a white picture of the given shape."""
    top, left = (shape[1] - y.shape[1]) // 2, (shape[2] - y.shape[2]) // 2
    framed = np.ones(shape, np.float32)
    framed[:, top : top + y.shape[1], left : left + y.shape[2]] = y
    return framed


def _region(estimates: Sequence[Array], errors: Sequence[Array], crop: int) -> Region:
    """Where the estimates differ most, by the sum of squares of their largest differences; where
    they are all the same, the error is largest."""
    spread = np.square(np.ptp(np.stack(estimates), axis=0)).mean(axis=0, dtype=np.float64)
    if not spread.any():
        spread = np.square(errors[0], dtype=np.float64)
    height, width = spread.shape
    tall, wide = (max(1, side // _zoom(height, width)) for side in _size(height, width))
    inner = spread[crop : height - crop, crop : width - crop]
    tall, wide = min(tall, inner.shape[0]), min(wide, inner.shape[1])
    sums = np.pad(inner.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top) + crop, int(left) + crop, tall, wide


def _enlarged(height: int, width: int) -> int:
    """How many times a small picture is enlarged; 1 for others."""
    return max(1, CELL // max(height, width))


def _zoom(height: int, width: int) -> int:
    return ZOOM * _enlarged(height, width)


def _size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture is shown."""
    if max(height, width) <= CELL:
        times = _enlarged(height, width)
        return height * times, width * times
    scale = CELL / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _rounded(value: float) -> float:
    """Up to two digits; at least one grey level, of which the stored truth consists."""
    value = max(value, 1 / 255)
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / unit - 1e-9) * unit:.3g}")


def _draw_row(row: Row) -> Image:
    """One image: a title, then three lines of pictures, each with its captions."""
    from PIL import Image

    _, height, width = row.truth.shape
    tall, wide = _size(height, width)
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
    times = _zoom(height, width)
    for left, array in zip(lefts, columns, strict=True):
        detail = _image(to_picture(array[:, y0 : y0 + high, x0 : x0 + broad]))
        page.paste(_resized(detail, broad * times, high * times, sharp=True), (left, top))
    _write(page, (MARGIN, top + tall), f"x{times}")
    top += tall + CAPTION
    side = len(row.kernel)
    kernel = _image(to_picture(row.kernel[None] / row.kernel.max()))
    room = min(tall, wide)
    shown = room // side * side or room
    page.paste(_resized(kernel, shown, shown, sharp=shown >= side), (lefts[0], top))
    _write(page, (lefts[0], top + tall), f"kernel {side}x{side}")
    for left, error, mean in zip(lefts[1:-1], row.errors, row.means, strict=True):
        page.paste(_error(error, row), (left, top))
        _write(page, (left, top + tall), f"mean error {mean:.4f}")
    _legend(page, (lefts[-1], top), row.scale, tall)
    return page


def _whole(array: Array, region: Region) -> Image:
    """A picture with the region's frame."""
    from PIL import ImageDraw

    _, height, width = array.shape
    tall, wide = _size(height, width)
    picture = _resized(_image(to_picture(array)), wide, tall, sharp=_enlarged(height, width) > 1)
    scale = wide / width
    y0, x0, high, broad = (round(side * scale) for side in region)
    box = x0, y0, max(x0, x0 + broad - 1), max(y0, y0 + high - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=FRAME)
    return picture


def _error(error: Array, row: Row) -> Image:
    """An error in colours; pixels that are not scored are white."""
    height, width = error.shape
    tall, wide = _size(height, width)
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


def _short(name: str) -> str:
    """A name that leaves room for the scores below a picture."""
    return name if len(name) <= 16 else f"{name[:8]}..{name[-6:]}"
