"""Pictures of reconstructions: measured, estimate and truth side by side, and an overview."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema.images import Values
from challenge.data import atomic
from challenge.data.images import codec
from challenge.data.images.codec import Picture
from challenge.data.images.contact_sheet import Sheet, to_picture
from challenge.data.physics import measurements
from challenge.submissions.scoring import calibration
from challenge.submissions.scoring.scores import Scores

if TYPE_CHECKING:
    from PIL.Image import Image

OVERVIEW = "overview.png"
MARGIN = 8
SHOWN = ("estimate", "its framed detail: measured", "estimate", "truth")
"""The pictures of an image on the overview."""
DETAIL = 4
"""A detail's side is this part of the picture's."""
FRAME = (255, 210, 0)
CAPTION = 20
"""Pixels of a caption's line."""
PAPER, INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True)
class Panel:
    """A picture, uint8 of shape (C, H, W), with the line below it."""

    picture: Picture
    caption: str


def draw_all(
    folder: Path,
    images: Sequence[tuple[str, Path, Path | None]],
    scores: Scores | None = None,
    *,
    crop: int,
    title: str = "",
    values: Values | None = None,
) -> Path:
    """Draw `<id>.png` beside every `<id>.npy` of a folder, and one overview.

    The standard deviation of an image, where there is one, is a panel of its own.

    Args:
        folder: has the reconstructions.
        images: id, stored measurement, and true image where it is known.
        scores: of these images; they stand in the captions.
        crop: pixels at every side that the metric leaves out.
        title: of the overview; the folder's name by default, which may be a temporary one.
        values: what the images' values mean: pictures show their window.
            By default that is [0, 1].

    Returns:
        The overview's path.
    """
    values = values or Values()
    known = {score.id: score for score in scores.images} if scores else {}
    words = SHOWN[:-1] if any(truth is None for *_, truth in images) else SHOWN
    text = f"{title or folder.name}: {', '.join(words)}"
    sheet = Sheet(text, len(images), values.described)
    for number, (identity, measurement, truth) in enumerate(images):
        score = known.get(identity)
        psnr = f"{score.psnr:.2f} dB" if score and score.psnr is not None else ""
        text = f"{psnr}, SSIM {score.ssim:.3f}" if score and score.ssim is not None else ""
        panels = _panels(measurement, folder / f"{identity}.npy", truth, text, crop, values.shown)
        uncertain = _deviation(calibration.path_of(folder, identity))
        _save(row([*panels, *uncertain], identity), folder / f"{identity}.png")
        if sheet.shows(number):
            sheet.add(f"{identity} {psnr}", *_details([panel.picture for panel in panels], crop))
    atomic.write_bytes(folder / OVERVIEW, sheet.png())
    return folder / OVERVIEW


def row(panels: Sequence[Panel], title: str = "") -> Image:
    """Panels side by side on white paper, each with its caption below, as wide as either needs."""
    from PIL import Image, ImageDraw, ImageFont

    height = max(panel.picture.shape[1] for panel in panels)
    captions = [panel.caption for panel in panels]
    if title:
        captions[0] = f"{title}  {captions[0]}"
    font = ImageFont.load_default(12)
    widths = [
        max(panel.picture.shape[2], math.ceil(font.getlength(caption)))
        for panel, caption in zip(panels, captions, strict=True)
    ]
    size = (sum(widths) + MARGIN * (len(panels) + 1), height + MARGIN + CAPTION)
    paper = Image.new("RGB", size, PAPER)
    pen, left = ImageDraw.Draw(paper), MARGIN
    for panel, caption, width in zip(panels, captions, widths, strict=True):
        pixels = panel.picture.transpose(1, 2, 0)
        colour = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        picture = Image.fromarray(np.ascontiguousarray(colour))
        paper.paste(picture, (left, MARGIN + (height - picture.height) // 2))
        pen.text((left, height + MARGIN + 3), caption, fill=INK, font=font)
        left += width + MARGIN
    return paper


def _details(panels: Sequence[Picture], crop: int) -> list[Picture]:
    """The estimate with a frame where it errs most, then what is in the frame: measured, estimate
    and truth. Where the truth is not known, the frame is where estimate and measurement differ."""
    y, x_hat, *truth = panels
    whole = framed(y, x_hat.shape)
    reference = (truth[0] if truth else whole).astype(np.float64)
    spread = np.square(x_hat - reference).mean(axis=0)
    sides = [max(1, side // DETAIL) for side in x_hat.shape[1:]]
    top, left, tall, wide = largest_region(spread, sides[0], sides[1], crop)
    shown = np.broadcast_to(x_hat, (3, *x_hat.shape[1:])).copy()
    # Two pixels wide, so that a frame is left where the picture is shrunk.
    thick = max(1, round(max(x_hat.shape[1:]) / 128))
    inside = np.zeros(x_hat.shape[1:], bool)
    inside[top : top + tall, left : left + wide] = True
    inner = np.zeros_like(inside)
    inner[top + thick : top + tall - thick, left + thick : left + wide - thick] = True
    shown[:, inside & ~inner] = np.array(FRAME, np.uint8)[:, None]
    place = np.s_[:, top : top + tall, left : left + wide]
    details = (each[place] for each in (whole, x_hat, *truth))
    return [shown, *(each.repeat(DETAIL, axis=1).repeat(DETAIL, axis=2) for each in details)]


def framed(y: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A measurement in the middle of a white picture of the given shape (C, H, W), if smaller."""
    if y.shape == shape:
        return y
    white = 255 if y.dtype == np.uint8 else 1
    page = np.full(shape, white, y.dtype)
    top, left = (shape[1] - y.shape[1]) // 2, (shape[2] - y.shape[2]) // 2
    page[:, top : top + y.shape[1], left : left + y.shape[2]] = y
    return page


def largest_region(
    spread: NDArray[np.float64], tall: int, wide: int, crop: int
) -> tuple[int, int, int, int]:
    """Where the sum of `spread` (H, W) over a rectangle is largest, away from the border.

    Returns:
        Top, left, height, width in pixels; the rectangle is smaller where there is no room.
    """
    height, width = spread.shape
    inner = spread[crop : height - crop, crop : width - crop]
    tall, wide = min(tall, inner.shape[0]), min(wide, inner.shape[1])
    sums = np.pad(inner.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top) + crop, int(left) + crop, tall, wide


def write_page(rows: Sequence[Image], path: Path) -> None:
    """Write rows below each other as a PNG, whole or not at all."""
    from PIL import Image

    width, height = max(row.width for row in rows), sum(row.height for row in rows)
    page = Image.new("RGB", (width, height), PAPER)
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    _save(page, path)


def _panels(
    measurement: Path,
    estimate: Path,
    truth: Path | None,
    text: str,
    crop: int,
    window: tuple[float, float],
) -> list[Panel]:
    from challenge.submissions.scoring import metrics

    read = measurements.read(measurement)
    y = read.picture
    x_hat = np.load(estimate, allow_pickle=False)
    panels = [
        Panel(to_picture(y, window), read.seen_as),
        Panel(to_picture(x_hat, window), f"estimate {text}".rstrip()),
    ]
    if truth is not None:
        x = codec.stored(truth)
        if y.shape == x.shape:
            psnr = metrics.psnr(estimate=y, truth=codec.to_unit(x), crop=crop)
            panels[0] = Panel(panels[0].picture, f"{read.seen_as} {psnr:.2f} dB")
        panels.append(Panel(to_picture(x, window), "truth"))
    return panels


def _deviation(path: Path) -> list[Panel]:
    """The standard deviation of a pixel over its channels, white where it is highest; or none."""
    if not path.exists():
        return []
    s = np.sqrt(np.square(np.load(path, allow_pickle=False), dtype=np.float64).mean(0))
    # A single pixel does not decide how bright the others are.
    most = max(float(np.quantile(s, 0.995)), 1e-6)
    return [Panel(to_picture(s[None] / most), f"standard deviation, white: {most:.2g}")]


def _save(picture: Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    atomic.write_bytes(path, buffer.getvalue())
