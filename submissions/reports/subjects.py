"""What is analysed: a denoiser, an iteration with one, an unrolled one, a fixed point, a flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from challenge.configs.errors import UserError
from challenge.submissions.reports.facts import closed

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from torch import Tensor

    from challenge.data.challenges.challenge import Challenge
    from challenge.methods.contract import Method
    from challenge.methods.plug_and_play.stationary import Algorithm, Stationary
    from challenge.submissions.reports.analysis import Settings

Kind = Literal["denoiser", "iteration", "unrolled", "equilibrium", "flow"]

LEVELS = (5 / 255, 15 / 255, 25 / 255)
"""Of a denoiser that takes any."""
SHARE = 0.5
"""Step of the iteration that a denoiser alone is looked at in, in units of 1 / L."""


def kind_of(method: Method, place: object) -> Kind:
    """What a method is to the theorems.

    Raises:
        UserError: none of them speaks of it.
    """
    from challenge.methods.end_to_end.dynamics import HasDynamics, HasEquilibrium
    from challenge.methods.end_to_end.unrolled import Unrolled
    from challenge.methods.plug_and_play.stationary import HasStationary

    if isinstance(method, HasStationary):
        return "iteration"
    if method.operators is not None and tuple(method.operators) == ("identity",):
        return "denoiser"
    if isinstance(method, Unrolled):
        return "unrolled"
    if isinstance(method, HasEquilibrium):
        return "equilibrium"
    if isinstance(method, HasDynamics):
        return "flow"
    raise UserError.of(
        place,
        f"is `{type(method).__name__}`, of which no theorem about denoisers speaks",
        "give a denoiser, an iteration with one such as `pnp` or `red`, `unrolled`, `deq` or "
        "`neural_ode`",
    )


def check_asked(method: Method, kind: Kind, settings: Settings) -> None:
    """What is asked of a denoiser alone is for one, and inside of what it was trained for.

    Raises:
        UserError: it would be ignored, or is outside.
    """
    from challenge.methods.plug_and_play.denoisers import check_levels

    asked = {
        "--levels": settings.levels,
        "--algorithm": settings.algorithm,
        "--step": settings.step,
    }
    given = [name for name, value in asked.items() if value]
    if kind != "denoiser" and given:
        cause = f"is for a denoiser alone; `{type(method).__name__}` has its own"
        raise UserError.of(given[0], cause, "leave it out")
    if settings.levels:
        ends = min(settings.levels), max(settings.levels)
        check_levels(method, *ends, "give `--levels` inside of that range")


def check_images(method: Method, place: object, challenge: Challenge) -> None:
    """Raise `UserError` where a method is for grey images and those of a challenge are not, or so.

    Args:
        method: a denoiser, or what has its networks in itself.
        place: for the message.
        challenge: any, also one that the method was not trained for.
    """
    from challenge.methods.from_source import COLOURS

    takes, channels = getattr(method, "channels", None), challenge.problem.channels
    if takes in COLOURS and takes != channels:
        there = f"those of `{challenge.config.name}` are in {COLOURS[channels]}"
        cause = f"is for {COLOURS[takes]} images, {there}"
        raise UserError.of(place, cause, "give another `--challenge`")


def levels_of(method: Method) -> tuple[float, ...]:
    """Three noise levels inside a denoiser's range, by which its constants are shown."""
    from challenge.methods.plug_and_play.denoisers import noise_range

    known = noise_range(method)
    if known is None:
        return LEVELS
    low, high = known
    found = [min(max(level, low), high) for level in LEVELS]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Certificate:
    """Upper bounds of Lipschitz constants that a construction gives; inf where it gives none."""

    denoiser: float
    residual: float
    reflected: float


def certificate(method: Method) -> Certificate:
    """What a denoiser certifies, and what follows from it."""
    from challenge.methods.plug_and_play.denoisers import certified

    bounds = certified(method)
    if bounds is None:
        return Certificate(*closed(None, None, None))
    return Certificate(*closed(bounds.denoiser, bounds.residual, bounds.reflected))


def at_level(method: Method, level: float) -> Callable[[Tensor], Tensor]:
    """D(., level) of a denoiser."""
    from challenge.methods.plug_and_play.denoisers import denoise

    return lambda x: denoise(method, x, level)


def iteration_of(
    method: Method,
    kind: Kind,
    y: Tensor,
    physics: LinearPhysics,
    level: float,
    step: float,
    algorithm: Algorithm | None,
) -> Stationary:
    """The iteration that is followed.

    Args:
        method: what is analysed.
        kind: of it, `denoiser` or `iteration`.
        y: measurement of one image.
        physics: the operator.
        level: of a denoiser alone.
        step: of a denoiser alone.
        algorithm: of a denoiser alone; gradient steps where it has a potential, else `pgd`.
    """
    from challenge.methods.plug_and_play.denoisers import HasPotential
    from challenge.methods.plug_and_play.stationary import HasStationary, Stationary

    if kind == "iteration":
        assert isinstance(method, HasStationary)
        found: Stationary = method.stationary(y, physics)
        return found
    usual: Algorithm = "gs" if isinstance(method, HasPotential) else "pgd"
    follow = algorithm or usual
    # tau lambda = 1, the most that theorems allow; of red, t < 2 / (L + 2 lambda) leaves no t then.
    share = 0.5 if follow == "red" else 1.0
    return Stationary(follow, method, at_level(method, level), level, step, weight=share / step)
