"""What scores say of a mean, and of the difference of two methods on the same images.

    d_i = PSNR of a method on image i - PSNR of the first method on image i

Images differ by far more than methods do, so the mean of d is known much better than either mean
PSNR: its 95 % interval over the images tells a difference from chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from challenge.submissions.scoring.scores import Interval

SAMPLES = 10_000
"""Bootstrap samples of an interval."""
BATCH = 500
"""Samples held at a time, so that memory does not grow with images times samples."""


def interval(values: Sequence[float]) -> Interval:
    """The mean with its 95 % interval over images (BCa bootstrap, fixed random numbers).

    The interval of a single image, and of images with one score, is unknown: None.
    """
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return Interval(mean, None, None)
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    low, high = bootstrap(
        (np.asarray(values),), np.mean, n_resamples=SAMPLES, batch=BATCH, rng=rng
    ).confidence_interval
    # Scores that are all but equal leave BCa nothing to estimate its acceleration from.
    if not (np.isfinite(low) and np.isfinite(high)):
        return Interval(mean, None, None)
    return Interval(mean, float(low), float(high))


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
