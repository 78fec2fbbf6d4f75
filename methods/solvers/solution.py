"""What an iterative solver found, how well, and how it says that it found nothing."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from challenge.configs.errors import UserError


class Solution(NamedTuple):
    """What an iterative solver found, and how well."""

    x: Tensor
    """Of the shape of the start, (B, ...)."""
    residual: Tensor
    """Of every image, shape (B,); each solver says of what."""
    iterations: int
    """Of the image that needed most."""


class NotPositiveDefinite(UserError):
    """The operator has a direction of curvature <= 0: there is no minimiser to find."""


class Minimum(NamedTuple):
    """What descent found, and how well. The first three fields are those of `Solution`."""

    x: Tensor
    """Shape (B, ...)."""
    residual: Tensor
    """Root mean square of the gradient, shape (B,)."""
    iterations: int
    """Of the image that needed most."""
    distance: Tensor | None
    """Bound of ||x - x*||, shape (B,), where the convexity was given."""
    lipschitz: Tensor
    """L of every image at the end, shape (B,)."""


class NotConverged(UserError):
    """An iteration ended before its residual was as small as asked."""
