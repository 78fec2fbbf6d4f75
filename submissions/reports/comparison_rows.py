"""What a comparison shows of one image: the region, the errors and the words below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.challenge import Challenge
from challenge.data.images.magnitude import magnitude
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.scoring import pictures

CELL = 256
"""Pixels of the longer side of a picture, at most; small ones are enlarged by a whole factor."""
CAPTIONS = 3
"""Lines of a caption, at most."""
ZOOM = 4
"""A region is so many times larger than in the picture above it, if that is not reduced."""
SHARE = 99
"""Per cent of an image's errors that lie within its scale."""

Array = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""Top, left, height, width in pixels of the image."""


@dataclass(frozen=True)
class Row:
    """Everything that is shown of one image; arrays have shape (C, H, W)."""

    title: str
    y: Array
    """As large as the truth: what a valid blur does not see is white."""
    portrait: tuple[Array, str] | None
    """What there is to see of the operator, (H, W), and its caption: a kernel, a mask."""
    truth: Array
    estimates: tuple[Array, ...]
    captions: tuple[tuple[str, ...], ...]
    """Of the measurement, the estimates and the truth: name, PSNR, SSIM, each a line."""
    region: Region
    errors: tuple[Array, ...]
    """Of the estimates, shape (H, W)."""
    means: tuple[float, ...]
    """Of the errors, over the pixels that are scored."""
    crop: int
    """Pixels at every side that are not scored."""
    scale: float
    """The error from which on the colour is the brightest."""


def row_of(identity: str, reason: str, compared: Sequence[Compared], challenge: Challenge) -> Row:
    from challenge.submissions.scoring import metrics

    measurement, truth = challenge.measurement("val", identity), challenge.truth(identity)
    crop = challenge.crop
    loaded = (np.load(each.folder / f"{identity}.npy") for each in compared)
    estimates = tuple(magnitude(each).clip(0, 1) for each in loaded)
    errors = tuple(np.abs(each - magnitude(truth)).mean(axis=0) for each in estimates)
    inner = np.s_[crop : truth.shape[1] - crop, crop : truth.shape[2] - crop]
    scale = rounded_up(max(float(np.percentile(each[inner], SHARE)) for each in errors))
    seen = measurement.picture
    captions: list[tuple[str, ...]] = [(measurement.seen_as, measurement.level)]
    if seen.shape == truth.shape:
        psnr = metrics.psnr(estimate=seen, truth=truth, crop=crop)
        ssim = metrics.ssim(estimate=seen, truth=truth, crop=crop)
        captions = [
            (f"{measurement.seen_as} {measurement.level}", f"{psnr:.2f} dB", f"SSIM {ssim:.3f}")
        ]
    scores = [
        next(image for image in each.scores.images if image.id == identity) for each in compared
    ]
    for each, score in zip(compared, scores, strict=True):
        assert score.psnr is not None and score.ssim is not None and scores[0].psnr is not None
        over = f" ({score.psnr - scores[0].psnr:+.2f})" if len(captions) > 1 else ""
        name = _short(each.candidate.name)
        captions.append((name, f"{score.psnr:.2f} dB{over}", f"SSIM {score.ssim:.3f}"))

    def shown(x: Array) -> Array:
        black, white = challenge.window
        x = magnitude(x)
        return x if (black, white) == (0, 1) else (x - black) / (white - black)

    return Row(
        title=f"{identity}  {reason}",
        y=shown(pictures.framed(seen, truth.shape)),
        portrait=measurement.portrait,
        truth=shown(truth),
        estimates=tuple(shown(each) for each in estimates),
        captions=(*captions, ("truth",)),
        region=differing_region(estimates, errors, crop),
        errors=errors,
        means=tuple(float(each[inner].mean(dtype=np.float64)) for each in errors),
        crop=crop,
        scale=scale,
    )


def differing_region(estimates: Sequence[Array], errors: Sequence[Array], crop: int) -> Region:
    """Where the estimates differ most, by the sum of squares of their largest differences; where
    they are all the same, the error is largest."""
    spread = np.square(np.ptp(np.stack(estimates), axis=0)).mean(axis=0, dtype=np.float64)
    if not spread.any():
        spread = np.square(errors[0], dtype=np.float64)
    height, width = spread.shape
    tall, wide = (max(1, side // zoom_of(height, width)) for side in shown_size(height, width))
    return pictures.largest_region(spread, tall, wide, crop)


def enlargement(height: int, width: int) -> int:
    """How many times a small picture is enlarged; 1 for others."""
    return max(1, CELL // max(height, width))


def zoom_of(height: int, width: int) -> int:
    return ZOOM * enlargement(height, width)


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture is shown."""
    if max(height, width) <= CELL:
        times = enlargement(height, width)
        return height * times, width * times
    scale = CELL / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def rounded_up(value: float) -> float:
    """Up to two digits; at least one grey level, of which the stored truth consists."""
    value = max(value, 1 / 255)
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / unit - 1e-9) * unit:.3g}")


def _short(name: str) -> str:
    """A name that leaves room for the scores below a picture."""
    return name if len(name) <= 16 else f"{name[:8]}..{name[-6:]}"
