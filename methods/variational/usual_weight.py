"""The weight of total variation that is about the best for photographs, by the noise level alone.

    weight = 0.2 sigma,   1.2 sigma where the operator is the identity

A search begins there; a weight that is given and lies far from it was meant for other noise.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.training.noise_ends import noise_ends

Level = TypeVar("Level", float, Tensor)
SHARE = 0.2
DENOISING_SHARE = 1.2
"""Of the identity, in whose data all frequencies are, and all the noise is left to the prior."""
FAR = 2.0
"""A factor within which a weight is good enough to say nothing."""


def usual_weight(sigma: Level, *, denoising: bool = False) -> Level:
    """About the best weight at a noise level, a number or of any shape.

    Args:
        sigma: noise level in units of the image range.
        denoising: whether the operator is the identity.
    """
    return (DENOISING_SHARE if denoising else SHARE) * sigma


def advice(weight: float, problem: Problem, images: Images, remedy: str) -> str | None:
    """What to say of a weight that was meant for other noise than the problem's, else None.

    Args:
        weight: that was given.
        problem: whose noise it is to be for.
        images: training images; the noise of the first one is looked at.
        remedy: what finds a better weight.
    """
    levels = noise_ends(problem, images)
    share = usual_weight(1.0, denoising=problem.operator.kind == "identity")
    if all(1 / FAR <= weight / (share * level) <= FAR for level in levels):
        return None
    span = " to ".join(f"{level:.2g}" for level in dict.fromkeys(levels))
    return (
        f"`method.weight` is {weight:g}, as for a noise level of about {weight / share:.2g}; here "
        f"it is {span}: {remedy}"
    )
