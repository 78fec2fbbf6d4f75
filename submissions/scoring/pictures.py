"""Pictures of reconstructions: measured, estimate and truth side by side, and an overview."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from challenge.data import atomic
from challenge.data.images import codec
from challenge.data.images.codec import Picture
from challenge.data.images.contact_sheet import Sheet, to_picture
from challenge.data.physics import measurements
from challenge.submissions.scoring.scores import Scores

if TYPE_CHECKING:
    from PIL.Image import Image

OVERVIEW = "overview.png"
MARGIN = 8
SHOWN = "measured, estimate, truth"
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
) -> Path:
    """Draw `<id>.png` beside every `<id>.npy` of a folder, and one overview.

    Args:
        folder: has the reconstructions.
        images: id, stored measurement, and true PNG where it is known.
        scores: of these images; they stand in the captions.
        crop: pixels at every side that the metric leaves out.
        title: of the overview; the folder's name by default, which may be a temporary one.

    Returns:
        The overview's path.
    """
    known = {score.id: score for score in scores.images} if scores else {}
    words = "measured, estimate" if any(truth is None for *_, truth in images) else SHOWN
    sheet = Sheet(f"{title or folder.name}: {words}", len(images))
    for number, (identity, measurement, truth) in enumerate(images):
        score = known.get(identity)
        psnr = f"{score.psnr:.2f} dB" if score and score.psnr is not None else ""
        text = f"{psnr}, SSIM {score.ssim:.3f}" if score and score.ssim is not None else ""
        panels = _panels(measurement, folder / f"{identity}.npy", truth, text, crop)
        _save(row(panels, identity), folder / f"{identity}.png")
        if sheet.shows(number):
            sheet.add(f"{identity} {psnr}", *(panel.picture for panel in panels))
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
    measurement: Path, estimate: Path, truth: Path | None, text: str, crop: int
) -> list[Panel]:
    from challenge.submissions.scoring import metrics

    y = measurements.read(measurement).picture
    x_hat = np.load(estimate, allow_pickle=False)
    panels = [
        Panel(to_picture(y), "measured"),
        Panel(to_picture(x_hat), f"estimate {text}".rstrip()),
    ]
    if truth is not None:
        x = codec.stored(truth)
        if y.shape == x.shape:
            psnr = metrics.psnr(estimate=y, truth=codec.to_unit(x), crop=crop)
            panels[0] = Panel(panels[0].picture, f"measured {psnr:.2f} dB")
        panels.append(Panel(x, "truth"))
    return panels


def _save(picture: Image, path: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    atomic.write_bytes(path, buffer.getvalue())
