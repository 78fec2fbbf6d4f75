"""Whether a standard deviation that a method gives of every pixel is right.

    share_k = mean over pixels of [ |x - x_hat| <= k s ],   k = 1, 2

For errors that are normal with the standard deviation s, the shares are .683 and .954. Errors of
the mean of n draws in units of their own standard deviation follow Student's t with n - 1 degrees
of freedom: with n = 8 the shares of a method that is right are .649 and .914.

The estimate is clipped to [0, 1], as for the metrics; no score and no rank depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = "deviation"
"""Beside the reconstructions `<id>.npy`: standard deviations, `deviation/<id>.npy`."""
NORMAL = (0.683, 0.954)
"""The shares of a normal distribution."""


@dataclass(frozen=True)
class Calibration:
    """Shares of the values within one and within two standard deviations of the truth."""

    one: float
    two: float


def path_of(folder: Path, identity: str) -> Path:
    """Where the standard deviation of an image is, in a folder of reconstructions."""
    return folder / FOLDER / f"{identity}.npy"


def calibration(
    *, estimate: NDArray[Any], deviation: NDArray[Any], truth: NDArray[Any], crop: int = 0
) -> Calibration:
    """The shares of one image.

    Args:
        estimate: x_hat, floats, shape (C, H, W).
        deviation: s, of the same shape.
        truth: floats in [0, 1], the same shape.
        crop: pixels left out at every side.
    """
    import numpy as np

    from challenge.data.images.magnitude import COMPLEX

    height, width = truth.shape[1:]
    inner = np.s_[:, crop : height - crop, crop : width - crop]
    # The parts of complex images are in [-1, 1].
    low = -1 if len(truth) == COMPLEX else 0
    error = np.abs(np.clip(estimate[inner].astype(np.float64), low, 1) - truth[inner])
    spread = deviation[inner].astype(np.float64)
    one, two = (float(np.mean(error <= k * spread)) for k in (1, 2))
    return Calibration(one, two)


def mean(images: list[Calibration]) -> Calibration:
    """The mean over images; raises ValueError where there are none."""
    if not images:
        raise ValueError("no image has a standard deviation")
    return Calibration(fmean(each.one for each in images), fmean(each.two for each in images))


def in_words(found: Calibration) -> str:
    """A line for a person."""
    return (
        f"{found.one:.1%} of the values lie within 1, {found.two:.1%} within 2 of the method's "
        f"standard deviations (a normal's: {NORMAL[0]:.1%}, {NORMAL[1]:.1%})"
    )
