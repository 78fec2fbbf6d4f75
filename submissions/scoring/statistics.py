"""What tells methods apart that were scored on the same images.

    d_i = PSNR of the method on image i - PSNR of the first method on image i

Images differ by far more than methods do, so the mean of d is known much better than either mean
PSNR: its 95 % interval (the scorer's bootstrap, over the images) tells a difference from chance.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from challenge.submissions.scoring import scorer
from challenge.submissions.scoring.scores import Interval, Scores


def paired(scores: Scores, first: Scores) -> Interval:
    """The mean difference of PSNR over the images with its 95 % interval, in dB.

    Whatever the order of the images in either. A method that agrees with the first one on every
    image differs by exactly 0, for certain: the interval is [0, 0].

    Raises:
        ValueError: the images are not the same, or one has no score.
    """
    values = list(differences(scores, first).values())
    if not any(values):
        return Interval(0.0, 0.0, 0.0)
    found = scorer.interval(values)
    return Interval(float(np.mean(values)), found["low"], found["high"])


def differences(scores: Scores, first: Scores) -> dict[str, float]:
    """PSNR minus the first one's, in dB, by image, in the order of the ids; errors as `paired`."""
    ours, theirs = _psnr(scores), _psnr(first)
    if ours.keys() != theirs.keys():
        raise ValueError("the images are not the same")
    return {identity: ours[identity] - theirs[identity] for identity in sorted(ours)}


def _psnr(scores: Scores) -> dict[str, float]:
    found = {}
    for image in scores.images:
        if image.psnr is None:
            raise ValueError(f"image `{image.id}` has no score")
        found[image.id] = image.psnr
    return found


def telling(methods: Mapping[str, Scores]) -> list[tuple[str, str]]:
    """At most four images that tell the most, each with the reason in words.

    Of the differences between the first method and the best other one: the median, the largest,
    the smallest; then the image that is hardest for all. A single method has its median, best
    and worst image. Ties go to the first id.

    Args:
        methods: the scores by the methods' names, the first method first.
    """
    (first, scores), *others = methods.items()
    values, what = _psnr(scores), "PSNR"
    words = "median", "highest", "lowest"
    if others:
        rival = max(others, key=lambda each: statistics.fmean(_psnr(each[1]).values()))
        values, what = differences(rival[1], scores), f"{rival[0]} - {first}"
        words = "median of", "largest", "smallest"
    names = sorted(values)
    middle = statistics.median(values.values())
    levels = [_psnr(each) for each in methods.values()]
    chosen = [
        (min(names, key=lambda name: abs(values[name] - middle)), f"{words[0]} {what}"),
        (max(names, key=lambda name: values[name]), f"{words[1]} {what}"),
        (min(names, key=lambda name: values[name]), f"{words[2]} {what}"),
        (min(names, key=lambda name: sum(level[name] for level in levels)), "hardest for all"),
    ]
    rows: dict[str, str] = {}
    for name, reason in chosen:
        rows.setdefault(name, reason)  # an image that is chosen twice is shown for its first reason
    return [*rows.items()]
