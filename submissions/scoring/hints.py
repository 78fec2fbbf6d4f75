"""What estimates look like that hold to every rule and are wrong: other ranges, axes, colours.

An estimate is compared with the truth once more after each of the usual mix-ups is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.submissions.scoring import metrics

Image = NDArray[Any]

GAIN = 3.0
"""dB by which undoing a mix-up has to be better, to be named."""
WORSE = 0.5
"""dB by which an estimate has to be worse than its measurement."""
FLAT = 0.01
"""Standard deviation of an estimate that shows nothing."""
FAR = 2.0
"""Where a value is far from [0, 1]."""


@dataclass(frozen=True)
class Example:
    """An estimate beside its truth, both (C, H, W), and what was measured, as a picture."""

    x_hat: Image
    truth: Image
    measured: Image | None = None


MIX_UPS: tuple[tuple[str, Callable[[Image], Image]], ...] = (
    ("in [0, 255]: end `forward` with a division by 255", lambda x: x / 255),
    ("in [0, 65535]: end `forward` with a division by 65535", lambda x: x / 65535),
    ("divided by 255 twice: leave one division out", lambda x: x * 255),
    ("in [-0.5, 0.5]: end `forward` with `x_hat + 0.5`", lambda x: x + 0.5),
    ("in [-1, 1]: end `forward` with `(x_hat + 1) / 2`", lambda x: (x + 1) / 2),
    ("negatives: end `forward` with `1 - x_hat`", lambda x: 1 - x),
    ("with their colours in reverse order (BGR): `x_hat.flip(1)`", lambda x: x[::-1]),
    ("with rows and columns exchanged: `x_hat.transpose(2, 3)`", lambda x: x.transpose(0, 2, 1)),
    ("upside down: `x_hat.flip(2)`", lambda x: x[:, ::-1]),
    ("mirrored: `x_hat.flip(3)`", lambda x: x[:, :, ::-1]),
    ("turned by half a circle: `x_hat.flip(2, 3)`", lambda x: x[:, ::-1, ::-1]),
    ("turned by 90 degrees: `x_hat.rot90(-1, (2, 3))`", lambda x: np.rot90(x, -1, (1, 2))),
    ("turned by 90 degrees: `x_hat.rot90(1, (2, 3))`", lambda x: np.rot90(x, 1, (1, 2))),
)


def hints(examples: Sequence[Example], crop: int = 0) -> list[str]:
    """What is suspicious about estimates, in sentences; empty where nothing is.

    Args:
        examples: some images of val.
        crop: pixels at every side that the metric leaves out.
    """
    if not examples:
        return []

    def psnr(change: Callable[[Example], Image]) -> float:
        values = []
        for each in examples:
            found = change(each)
            if found.shape != each.truth.shape:
                return -np.inf
            found = np.ascontiguousarray(found, dtype=np.float32)
            values.append(metrics.psnr(estimate=found, truth=each.truth, crop=crop))
        return float(np.mean(values))

    as_it_is = psnr(lambda each: each.x_hat)
    said = []
    gains = [
        (psnr(lambda each, undo=undo: undo(each.x_hat)) - as_it_is, words)  # type: ignore[misc]
        for words, undo in _mix_ups(examples)
    ]
    gain, words = max(gains)
    # What undoes a mix-up shows the image; grey is better than many a bad estimate, too.
    grey = psnr(lambda each: np.full_like(each.truth, each.truth.mean()))
    shows = as_it_is + gain > grey
    low = min(float(each.x_hat.min()) for each in examples)
    high = max(float(each.x_hat.max()) for each in examples)
    if gain > GAIN and shows:
        said.append(f"estimates seem to be {words}; that gains {gain:.1f} dB")
    elif max(float(each.x_hat.std()) for each in examples) < FLAT:
        said.append("every estimate is one flat colour")
    elif low < -FAR or high > 1 + FAR:
        said.append(f"estimates reach from {low:.3g} to {high:.3g}, images live in [0, 1]")
    measured = [each.measured for each in examples]
    if all(each is not None for each in measured):
        beside = psnr(lambda each: each.measured)  # type: ignore[arg-type, return-value]
        if as_it_is < beside - WORSE:
            said.append(
                f"estimates are worse than the measurements themselves: {as_it_is:.2f} dB, "
                f"{beside:.2f} dB"
            )
    return said


def _mix_ups(examples: Sequence[Example]) -> list[tuple[str, Callable[[Image], Image]]]:
    """All mix-ups: one is of a mean and a deviation, as these examples have them."""
    mean = float(np.mean([each.truth.mean() for each in examples]))
    deviation = float(np.mean([each.truth.std() for each in examples]))
    words = "standardised: multiply by the deviation and add the mean at the end"
    return [*MIX_UPS, (words, lambda x: x * deviation + mean)]
