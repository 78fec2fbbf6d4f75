"""Images of val as every method reconstructs them: a lens over all, a slider, errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from challenge.data.challenges.challenge import Challenge
from challenge.data.images.codec import Picture
from challenge.data.images.contact_sheet import to_picture
from challenge.submissions.reports import images_to_show
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.comparison_rows import Array, Row, row_of
from challenge.submissions.reports.pages.images import photo
from challenge.submissions.reports.presentation.items import BeforeAfter, Item, Pictures, Shown

LOSSLESS = 3_500_000
"""Pixels of all pictures up to which nothing is lost: at three bytes each, 14 MB of a page."""
LOSSY = 20_000_000
"""Up to which they are as large as they are, with some loss."""


def pictures(
    compared: Sequence[Compared], challenge: Challenge, shown: Sequence[tuple[str, str]]
) -> Iterator[Item]:
    """Of each image: measured, every method, truth; the errors; before and after for the first.

    Args:
        shown: ids with reasons; by default the images that tell most.
    """
    names = [each.candidate.name for each in compared]
    scores = {each.candidate.name: each.scores for each in compared}
    chosen = [*shown] or images_to_show.informative_images(scores)
    rows = [row_of(identity, reason, compared, challenge) for identity, reason in chosen]
    pixels = sum(each.truth[0].size * (2 * len(names) + 2) for each in rows)
    lossless = pixels <= LOSSLESS
    step = 1
    while pixels / step**2 > LOSSY:
        step += 1
    kept = "" if lossless else " Pictures are compressed with some loss, so that the page is small."
    if step > 1:
        kept += f" They are shown at 1/{step} of their size."
    for number, ((identity, reason), row) in enumerate(zip(chosen, rows, strict=True), 1):
        told = f"{identity}: {reason}" if reason else identity
        seen = _estimates(row, names, number, lossless, step)
        note = (
            "A lens shows the same place of all pictures: point at one, or choose it with Tab and "
            f"move the lens with the arrow keys.{kept}"
        )
        yield Pictures(f"Image {told}", seen, note)
        if number == 1:
            *before, truth = seen
            title = f"Before and after: image {identity}"
            yield BeforeAfter(title, before[0], (*before[1:], truth))
        alike = (
            f"Mean of |x_hat - x| over the channels; black is 0, the brightest is {row.scale:.3g} "
            "and more, on one scale for all methods. Pixels that are not scored are grey."
        )
        yield Pictures(f"Errors of image {identity}", _errors(row, names, lossless, step), alike)


def _estimates(
    row: Row, names: Sequence[str], number: int, lossless: bool, step: int
) -> tuple[Shown, ...]:
    images = [row.y, *row.estimates, row.truth]
    shown = []
    for place, (image, caption) in enumerate(zip(images, row.captions, strict=True)):
        name, *lines = caption
        if 0 < place <= len(names):
            name = names[place - 1]
        picture = to_picture(_smaller(image, step))
        alt = f"{name}, {', '.join(lines)}" if lines else name
        shown.append(
            Shown(
                photo(picture, f"{alt} (image {row.title.split('  ')[0]})", lossless=lossless),
                name,
                tuple(lines),
                f"image-{number}-{place}",
            )
        )
    return tuple(shown)


def _errors(row: Row, names: Sequence[str], lossless: bool, step: int) -> tuple[Shown, ...]:
    shown = []
    for name, error, mean in zip(names, row.errors, row.means, strict=True):
        picture = _coloured(_smaller(error[None], step)[0] / row.scale, row.crop // step)
        alt = f"Error of {name}, mean {mean:.4f}."
        lines = (f"mean {mean:.4f}",)
        shown.append(Shown(photo(picture, alt, lossless=lossless), name, lines))
    return tuple(shown)


def _smaller(image: Array, step: int) -> Array:
    """Means over squares of `step` pixels; what is left at the right and below is cut off."""
    if step == 1:
        return image
    channels, height, width = image.shape
    tall, wide = height // step, width // step
    cut = image[:, : tall * step, : wide * step]
    found: Array = cut.reshape(channels, tall, step, wide, step).mean(axis=(2, 4))
    return found


def _coloured(error: Array, crop: int) -> Picture:
    """Shape (3, H, W): a scale that is as bright as it is large, also in grey."""
    from matplotlib import colormaps

    found: Picture = (colormaps["inferno"](np.clip(error, 0, 1))[..., :3] * 255).round()
    colours = found.astype(np.uint8)
    height, width = error.shape
    outside = np.ones(error.shape, bool)
    outside[crop : height - crop, crop : width - crop] = False
    colours[outside] = 128
    return colours.transpose(2, 0, 1)
