"""What scores say of a mean, and of the difference of two methods on the same images.

    d_i = PSNR of a method on image i - PSNR of the first method on image i

Images differ by far more than methods do, so the mean of d is known much better than either mean
PSNR: its 95 % interval over the images tells a difference from chance. It is the bootstrap-t
interval (Efron, Tibshirani 1993, 12.5),

    [m - q(.975) s, m - q(.025) s],   q: quantiles of (m* - m) / s*

with the mean m, its standard error s, and both of images drawn with replacement. It keeps what it
promises for few images and skewed scores, where percentiles of m* are too narrow: simulated with 24
images and exponential scores, it covers the mean in 94 of 100 cases, percentiles in 90.

The random numbers are fixed, and neither the order of images nor that of methods decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from challenge.submissions.scoring.scores import Interval

SAMPLES = 10_000
"""Draws of images."""
SHARE = 0.95
"""Of an interval."""

Array = NDArray[np.float64]


def interval(values: Sequence[float]) -> Interval:
    """The mean with its 95 % interval over images (bootstrap-t, fixed random numbers).

    The interval of up to three images, and of images with one score, is unknown: None.
    """
    return intervals(np.asarray(values, dtype=np.float64)[:, None])[0]


def intervals(values: Array) -> list[Interval]:
    """The mean of each column of `values` (images, methods), with its interval as above."""
    count = len(values)
    means = values.mean(axis=0)
    # In order, so that the same scores of other images have the same interval.
    away = np.sort(values, axis=0) - means
    spread = np.sqrt(np.square(away).mean(axis=0))
    known = np.ptp(values, axis=0) > 0
    low, high = np.full((2, len(means)), np.nan)
    if known.any():
        scaled = away[:, known] / spread[known]
        half = draws(count)[: SAMPLES // 2]
        # With their mirror images, so that the interval of -d is that of d, mirrored.
        shares = np.concatenate([half, half[:, ::-1]])
        drawn = shares @ scaled
        variance = np.maximum(shares @ np.square(scaled) - np.square(drawn), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(variance > 1e-12, drawn / np.sqrt(variance), np.copysign(np.inf, drawn))
            ends = np.quantile(t, [(1 + SHARE) / 2, (1 - SHARE) / 2], axis=0)
        low[known], high[known] = means[known] - ends * spread[known]
    return [
        Interval(float(mean), float(lower), float(upper))
        if np.isfinite(lower) and np.isfinite(upper)
        else Interval(float(mean), None, None)
        for mean, lower, upper in zip(means, low, high, strict=True)
    ]


def draws(count: int) -> Array:
    """Images drawn with replacement: of each its share of the draw, shape (SAMPLES, count)."""
    rng = np.random.default_rng(0)
    return rng.multinomial(count, np.full(count, 1 / count), size=SAMPLES) / count


def paired(values: Mapping[str, float], first: Mapping[str, float]) -> Interval:
    """The mean difference over the images with its 95 % interval.

    A method that agrees with the first one on every image differs by exactly 0, for certain: the
    interval is [0, 0].

    Args:
        values, first: scores by image, in any order.

    Raises:
        ValueError: the images are not the same.
    """
    found = list(differences(values, first).values())
    return interval(found) if any(found) else Interval(0.0, 0.0, 0.0)


def differences(values: Mapping[str, float], first: Mapping[str, float]) -> dict[str, float]:
    """The score minus the first one's, by image, in the order of the ids; errors as `paired`."""
    if values.keys() != first.keys():
        raise ValueError("the images are not the same")
    return {identity: values[identity] - first[identity] for identity in sorted(values)}
