"""The noise levels between which the measurements of a problem lie."""

from __future__ import annotations

from challenge.data.images.dataset import Images
from challenge.data.physics.noise_models import extremes
from challenge.data.physics.problem import Problem
from challenge.methods.transforms.noise_level import noise_level

SIDE = 96
"""Pixels of the side of the picture whose noise is looked at, at most."""


def noise_ends(problem: Problem, images: Images) -> list[float]:
    """The levels (`noise_level`) at both ends of the problem's range; one where it has no range.

    Photons make them differ from image to image: the first one is looked at.

    Args:
        problem: whose noise it is.
        images: training images.
    """
    _, height, width = images.shape(0)
    most = max(SIDE, 2 * problem.smallest)
    rows, columns = (problem.fitting(min(side, most)) for side in (height, width))
    x = images.patch(0, 0, 0, rows, columns)[None]
    levels = []
    for end in extremes(problem.noise):
        levels.append(float(noise_level(*problem.at(end).measure(x, [0])).median()))
    return levels
