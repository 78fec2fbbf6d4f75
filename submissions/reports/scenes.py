"""The images on which a method is analysed, and what is worst over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from challenge.submissions.reports.analysis import Level
from challenge.submissions.reports.facts import DataFacts
from challenge.submissions.reports.subjects import Certificate

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.data.challenges.challenge import Challenge
    from challenge.methods.plug_and_play.properties import Properties
    from challenge.methods.solvers.data_term import DataTerm

SIDE = 64
"""Of the centre of an image, by default."""
NAMES = ("D", "I - D", "2D - I")
NOTHING = Certificate(*[math.inf] * 3)
"""Of a map that nothing bounds."""


@dataclass(frozen=True)
class Scene:
    """One image and its measurement."""

    identity: str
    image: Tensor
    y: Tensor
    data: DataTerm
    facts: DataFacts


def side_of(challenge: Challenge, asked: int | None, usual: int = SIDE) -> tuple[int, int | None]:
    """The side of the part that is taken, and that of the whole where the operator is another one.

    A blur is the same one on a part of an image; a projector of 64 pixels with as many views as one
    of 128 is better conditioned, and what is measured with it is not true of the other.

    Args:
        challenge: whose val images are taken.
        asked: side in pixels; None: `usual`, or all of the image where that is the operator's.
    """
    from challenge.data.physics import families

    whole = min(challenge.truth(challenge.ids("val")[0]).shape[1:])
    one = families.of(challenge.problem.operator).whole
    side = challenge.problem.fitting(min(asked or (whole if one else usual), whole))
    return side, whole if one and side < whole else None


def scene_of(challenge: Challenge, identity: str, size: int) -> Scene:
    """The centre of a val image, measured anew: a measurement cannot be cut."""
    import torch

    from challenge.data.physics.problem import tensors
    from challenge.methods.solvers.curvature import curvature
    from challenge.methods.solvers.data_term import DataTerm

    problem, truth = challenge.problem, challenge.truth(identity)
    side = problem.fitting(min(size, *truth.shape[1:]))
    top, left = ((whole - side) // 2 for whole in truth.shape[1:])
    centre = truth[:, top : top + side, left : left + side].copy()
    y, physics = tensors(problem.measure_stored(centre, identity, problem.key))
    image = torch.from_numpy(centre)[None]
    found = curvature(physics, image)
    facts = DataFacts(found.mu, found.largest, found.exact)
    return Scene(identity, image, y, DataTerm(y, physics), facts)


def worst_of(
    level: float, found: Sequence[Properties], upper: Certificate = NOTHING, label: str = ""
) -> Level:
    """Of all images at one level, the worst."""
    norms = {
        name: {kind: max(each.norms[name][kind] for each in found) for kind in found[0].norms[name]}
        for name in NAMES
    }
    bounds = (upper.denoiser, upper.residual, upper.reflected)
    return Level(
        level,
        norms,
        {
            name: bound if math.isfinite(bound) else None
            for name, bound in zip(NAMES, bounds, strict=True)
        },
        all(each.differentiable for each in found),
        max(each.homogeneity for each in found),
        max((each.asymmetry for each in found if each.asymmetry is not None), default=None),
        min((each.least for each in found if each.least is not None), default=None),
        max((each.radius for each in found if each.radius is not None), default=None),
        label or f"{255 * level:.3g}/255",
    )
