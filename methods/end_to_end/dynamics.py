"""Fixed points and flows as the answers of methods: what is asked of them, what is analysed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.methods.solvers.ode import Field, Rule
from challenge.methods.solvers.solution import NotConverged, Solution

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

LOST = 0.1
"""A point that a step changes by more, relative to its norm, is no fixed point of anything, unless
that was asked for."""
ROUNDINGS = 10
"""A step rounds by a few units of its type: no tolerance below so many is met."""


@dataclass(frozen=True)
class Equilibrium:
    """The map of one image whose fixed point is the answer."""

    name: str
    """Of the iteration, for a table."""
    step: Callable[[Tensor], Tensor]
    """T, differentiable, from (1, C, H, W) to the same shape."""
    denoise: Callable[[Tensor], Tensor]
    """D, what was learned of T, likewise."""
    level: float
    """The noise level that D is told, in units of the image range."""
    first: Tensor
    """x_0, shape (1, C, H, W)."""
    contraction: float | None
    """An upper bound of the Lipschitz constant of T by construction; None where nothing bounds
    it."""


@runtime_checkable
class HasEquilibrium(Protocol):
    """A method whose answer is a fixed point."""

    def equilibrium(self, y: Tensor, physics: LinearPhysics) -> Equilibrium:
        """The map for the measurement of one image.

        Args:
            y: measurement, shape (1, C, H', W').
            physics: the operator.
        """


@dataclass(frozen=True)
class Dynamics:
    """The flow of one image whose end is the answer."""

    field: Field
    """v(x, t), differentiable; x of shape (1, C, H, W), t of shape (1,)."""
    denoise: Callable[[Tensor, float], Tensor]
    """D_t, what was learned of v, of an image and t / T."""
    first: Tensor
    """x(0), shape (1, C, H, W)."""
    horizon: float
    """T."""
    rule: Rule
    """How it is integrated."""
    level: float
    """The noise level of the measurement, in units of the image range."""


@runtime_checkable
class HasDynamics(Protocol):
    """A method whose answer is the end of a flow."""

    def dynamics(self, y: Tensor, physics: LinearPhysics) -> Dynamics:
        """The flow for the measurement of one image; arguments as for `HasEquilibrium`."""


def check_tolerance(tolerance: float, dtype: torch.dtype) -> None:
    """Raise `UserError` where rounding alone keeps every residual above a tolerance."""
    least = ROUNDINGS * torch.finfo(dtype).eps
    if tolerance < least:
        raise UserError.of(
            "`method.tolerance`",
            f"is `{tolerance:.3g}`, and a step in {str(dtype).removeprefix('torch.')} rounds by "
            f"about `{least:.1g}`: it cannot be met",
            "give `method.tolerance=1e-5`, or more",
        )


def check_found(found: Solution, tolerance: float, *, anytime: bool, remedy: str) -> None:
    """Raise `NotConverged` where what was found is not what was asked for.

    Args:
        found: with residuals ||T(x) - x|| / ||x||.
        tolerance: asked for.
        anytime: whether a larger residual will do.
        remedy: what the user can do where there is no fixed point.
    """
    worst = int(found.residual.argmax())
    residual = float(found.residual[worst])
    where = f"image {worst + 1} of {len(found.residual)}"
    if residual > max(LOST, tolerance):
        raise NotConverged.of(
            where,
            f"no fixed point was found: in {found.iterations} iterations the least relative "
            f"residual is `{residual:.3g}`, asked was `{tolerance:.3g}`",
            remedy,
        )
    if residual > tolerance and not anytime:
        raise NotConverged.of(
            where,
            f"after {found.iterations} iterations the relative residual is `{residual:.3g}`, "
            f"asked was `{tolerance:.3g}`",
            "give more `method.iterations`, a larger `method.tolerance`, or `method.anytime=true`",
        )
