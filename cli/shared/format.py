"""Numbers as a person says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.submissions.entries.manifest import Rounded
    from challenge.submissions.scoring.scores import Interval


def mean(value: Interval, digits: int) -> str:
    """A mean with its interval: `27.61 [26.9, 28.3]`."""
    if value.low is None or value.high is None:
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def signed(value: Interval) -> str:
    """A difference with its interval: `+1.74 [1.20, 2.31]`."""
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f}"
    return f"{value.mean:+.2f} [{value.low:.2f}, {value.high:.2f}]"


def clock(seconds: float) -> str:
    """Seconds as a person says them: `48 s`, `3:20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02} min"


def count(number: int) -> str:
    """A number of parameters, short: `950`, `52.8 k`, `1.06 M`."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size:
            value = number / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return str(number)


def rounding(found: Rounded) -> str:
    """What rounded weights changed: `float16   PSNR on val 33.01 dB, 33.02 before rounding`."""
    images = f"{found.images} image{'s' * (found.images != 1)}"
    return (
        f"{found.dtype:<9} PSNR on val {found.psnr_after:.3f} dB, {found.psnr_before:.3f} before "
        f"({found.change:+.4f}, {images})"
    )
