"""The analysis of fixed points and of flows: does the learned step contract, is the flow stiff.

x* = T(x*)        ||J_T||, the rate of the iteration, the largest |eigenvalue| of J_T(x*)
x' = v(x, t)      the largest eigenvalue of the symmetric part of dv/dx, |lambda| of dv/dx beside
                  the length of a step, the error of the integration
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from challenge.submissions.reports.analysis import Course, Level, Settings
from challenge.submissions.reports.facts import Passage
from challenge.submissions.reports.scenes import Scene, worst_of

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.methods.contract import Method
    from challenge.methods.end_to_end.dynamics import Dynamics
    from challenge.methods.solvers.jacobian import Jacobian

Found = tuple[tuple[Level, ...], tuple[Course, ...]]
OnStep = Callable[[str, int, int], None]
TIMES = (0.0, 0.5, 1.0)
"""At which a flow is looked at, in units of its length."""
EXACT = 1e-5
"""Tolerance of the flow that others are held against."""
CONVERGED = 0.05
"""An eigenvalue whose residual is a larger share of it is none yet."""


def equilibria(
    method: Method, scenes: Sequence[Scene], settings: Settings, progress: OnStep
) -> Found:
    """What was learned of T, and T from two starts: the method's own, and white noise."""
    import torch

    from challenge.methods.end_to_end.dynamics import HasEquilibrium
    from challenge.methods.plug_and_play import properties
    from challenge.methods.plug_and_play.safeguard import BIGGEST
    from challenge.methods.solvers import convergence, jacobian
    from challenge.methods.solvers.jacobian import Jacobian

    assert isinstance(method, HasEquilibrium)
    found, courses, at, total = [], [], [], 2 * len(scenes)
    for number, scene in enumerate(scenes):
        with torch.no_grad():
            follow = method.equilibrium(scene.y, scene.data.physics)
        level, words = follow.level, (settings.seed, scene.identity, "deq")
        found.append(
            properties.measure(follow.denoise, scene.image, level, scene.identity, settings.seed)
        )
        progress("D", 2 * number + 1, total)
        noise = torch.rand(scene.image.shape, generator=properties.generator(*words, "start"))
        traces = [
            convergence.trace(_repeated(follow.step, start), settings.iterations)
            for start in (follow.first, noise)
        ]
        stretched = [each.contraction or 0.0 for each in traces]
        last = traces[0].last
        # Where the iteration has left the range of images, derivatives are rounding.
        stayed = bool((last.abs() <= BIGGEST).all())
        there = Jacobian(follow.step, last if stayed else follow.first)
        for k, place in enumerate((Jacobian(follow.step, follow.first), there)):
            start = properties.normal(follow.first, *words, "norm", k)
            stretched.append(float(jacobian.norm(place, start, properties.STEPS)[0]))
        courses.append(
            Course(
                scene.identity,
                level,
                follow.name,
                None,
                1.0,
                False,
                scene.facts,
                traces[0].steps,
                traces[0].rate,
                max(value for value in stretched if math.isfinite(value)),
                follow.contraction,
                convergence.distance(*(each.last for each in traces)),
                convergence.distance(follow.first, noise),
                radius=_radius(there, properties.normal(follow.first, *words, "radius")),
            )
        )
        progress("T", 2 * number + 2, total)
        at.append(level)
    return (worst_of(sum(at) / len(at), found),), tuple(courses)


def flows(method: Method, scenes: Sequence[Scene], settings: Settings, progress: OnStep) -> Found:
    """What was learned of v at three times, and the flow with its steps."""
    import torch

    from challenge.methods.end_to_end.dynamics import HasDynamics
    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import convergence

    assert isinstance(method, HasDynamics)
    by_time: dict[float, list[properties.Properties]] = {time: [] for time in TIMES}
    courses, at, done, total = [], [], 0, len(scenes) * (len(TIMES) + 1)
    for scene in scenes:
        with torch.no_grad():
            follow = method.dynamics(scene.y, scene.data.physics)
        for time in TIMES:

            def denoise(z: Tensor, time: float = time, follow: Dynamics = follow) -> Tensor:
                return follow.denoise(z, time)

            words = f"{scene.identity} {time}"
            by_time[time].append(
                properties.measure(denoise, scene.image, follow.level, words, settings.seed)
            )
            progress(f"D at t = {time * follow.horizon:.3g}", done := done + 1, total)
        noise = properties.normal(follow.first, settings.seed, scene.identity, "apart")
        beside = convergence.distance(follow.level * noise, torch.zeros_like(noise))
        passage, path, ends = _passage(follow, follow.level * noise, settings, scene.identity)
        steps = tuple(convergence.distance(*pair) for pair in zip(path, path[1:], strict=False))
        at.append(follow.level)
        courses.append(
            Course(
                scene.identity,
                follow.level,
                f"neural_ode {follow.rule.solver}",
                follow.horizon / max(passage.steps, 1),
                1.0,
                False,
                scene.facts,
                steps,
                None,
                convergence.distance(*ends) / beside,
                None,
                convergence.distance(*ends),
                beside,
                passage=passage,
            )
        )
        progress("flow", done := done + 1, total)
    level = sum(at) / len(at)
    horizon = follow.horizon
    return tuple(
        worst_of(level, by_time[time], label=f"t = {time * horizon:.3g}") for time in TIMES
    ), tuple(courses)


def _passage(
    follow: Dynamics, apart: Tensor, settings: Settings, identity: str
) -> tuple[Passage, list[Tensor], tuple[Tensor, Tensor]]:
    """How a flow is followed, its path, and its ends from x(0) and from beside it."""
    import torch

    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import convergence, jacobian
    from challenge.methods.solvers.jacobian import Jacobian
    from challenge.methods.solvers.ode import STABLE, Rule, integrate

    begin = follow.first.new_zeros(1)
    end = torch.full_like(begin, follow.horizon)
    with torch.no_grad():
        own = integrate(follow.field, follow.first, begin, end, follow.rule, keep=10**6)
        other = integrate(follow.field, follow.first + apart, begin, end, follow.rule)
        rule = Rule("dopri5", tolerance=EXACT, most=4 * settings.iterations + 100)
        exact = integrate(follow.field, follow.first, begin, end, rule)
    h = follow.horizon / max(own.steps, 1)
    growth, fastest = -math.inf, 0.0
    places = {own.path[round(share * (len(own.path) - 1))][0]: share for share in TIMES}
    for number, t, x in own.path:
        if number not in places:
            continue

        def field(x: Tensor, t: Tensor = t) -> Tensor:
            return follow.field(x, t)

        words = (settings.seed, identity, "flow", number)
        there = Jacobian(field, x)
        start = properties.normal(x, *words)
        if there.exact:
            top = jacobian.symmetric_part(there, start, properties.STEPS)[1]
            growth = max(growth, float(top))
        size = _radius(there, start)
        if size is None:
            size = float(jacobian.norm(there, start, properties.STEPS)[0])
        fastest = max(fastest, size)
    return (
        Passage(
            follow.rule.solver,
            own.steps,
            own.rejected,
            own.evaluations,
            growth,
            h * fastest,
            STABLE[follow.rule.solver],
            convergence.distance(own.x, exact.x),
            follow.rule.tolerance is not None,
        ),
        [x for _, _, x in own.path],
        (own.x, other.x),
    )


def _radius(at: Jacobian, start: Tensor) -> float | None:
    """|eigenvalue|, the largest of a Jacobian that converged."""
    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import jacobian

    if not at.exact:
        return None
    value, rest = jacobian.spectral_radius(at, start, 2 * properties.STEPS)
    return float(value) if float(rest) <= CONVERGED * max(float(value), 1e-6) else None


def _repeated(step: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[Tensor]:
    """x, T(x), T(T(x)), ..."""
    while True:
        yield x
        x = step(x)
