"""The analysis of fixed points and of flows: does the learned step contract, is the flow stiff.

x* = T(x*)        ||J_T||, the rate of the iteration, the largest |eigenvalue| of J_T(x*)
x' = v(x, t)      the largest eigenvalue of the symmetric part of dv/dx, eigenvalues lambda of dv/dx
                  and what a step multiplies by there, |R(h lambda)|, the error of the integration
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
    from challenge.methods.solvers.ode import Flow, Rule

Found = tuple[tuple[Level, ...], tuple[Course, ...]]
OnStep = Callable[[str, int, int], None]
TIMES = (0.0, 0.5, 1.0)
"""At which a flow is looked at, in units of its length."""
EXACT = 1e-5
"""Tolerance of the flow that others are held against."""
CONVERGED = 0.05
"""An eigenvalue whose residual is a larger share of it is none yet."""
FOUND = 1e-3
"""A point that T moves by more, relative to its norm, is no fixed point."""
NEAR = 1e-2
"""An eigenvalue lambda, |lambda| > 1, counts where a fixed point may be so near, relatively: T
moves a point by about |lambda| - 1 times its distance."""
UPRIGHT = 1e-3
"""A real part of a smaller share of an eigenvalue is rounding."""


def equilibria(
    method: Method, scenes: Sequence[Scene], settings: Settings, progress: OnStep
) -> Found:
    """What was learned of T, and T from two starts: the method's own, and white noise."""
    import torch

    from challenge.methods.end_to_end.dynamics import HasEquilibrium
    from challenge.methods.plug_and_play import properties
    from challenge.methods.plug_and_play.safeguard import BIGGEST
    from challenge.methods.solvers import convergence, jacobian
    from challenge.methods.solvers.fixed_point import fixed_point
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
        last = last if bool((last.abs() <= BIGGEST).all()) else follow.first
        # From there: it is also found where it repels.
        with torch.no_grad():
            end = fixed_point(follow.step, last, tolerance=EXACT, iterations=settings.iterations)
        residual = float(end.residual)
        reached = residual <= FOUND and bool((end.x.abs() <= BIGGEST).all())
        there = Jacobian(follow.step, end.x if reached else last)
        for k, place in enumerate((Jacobian(follow.step, follow.first), there)):
            start = properties.normal(follow.first, *words, "norm", k)
            stretched.append(float(jacobian.norm(place, start, properties.STEPS)[0]))
        radius = _radius(there, properties.normal(follow.first, *words, "radius"))
        if radius is not None and not (
            reached and (radius <= 1 or residual <= NEAR * (radius - 1))
        ):
            radius = None
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
                radius=radius,
                residual=residual,
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
        apart = None if ends is None else convergence.distance(*ends)
        at.append(follow.level)
        courses.append(
            Course(
                scene.identity,
                follow.level,
                f"neural_ode {follow.rule.solver}",
                follow.horizon / passage.steps if passage.steps else None,
                1.0,
                False,
                scene.facts,
                steps,
                None,
                None if apart is None else apart / beside,
                None,
                apart,
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
) -> tuple[Passage, list[Tensor], tuple[Tensor, Tensor] | None]:
    """How a flow is followed, its path, and its ends from x(0) and from beside it.

    A flow that is too stiff to be followed is looked at where it begins, and has no ends; nor has
    one whose steps leave all numbers.
    """

    from challenge.methods.plug_and_play import properties
    from challenge.methods.plug_and_play.safeguard import BIGGEST
    from challenge.methods.solvers import convergence, jacobian
    from challenge.methods.solvers.jacobian import Jacobian
    from challenge.methods.solvers.ode import Flow, Rule

    begin = follow.first.new_zeros(1)
    own, stopped = _followed(follow, follow.first, follow.rule)
    other, _ = _followed(follow, follow.first + apart, follow.rule)
    rule = Rule("dopri5", tolerance=EXACT, most=4 * settings.iterations + 100)
    exact, _ = _followed(follow, follow.first, rule)
    ends = None if own is None or other is None else (own.x, other.x)
    if ends is not None and not all(bool(each.isfinite().all()) for each in ends):
        ends = None
    error = None if own is None or exact is None else convergence.distance(own.x, exact.x)
    own = own or Flow(follow.first, path=[(0, begin, follow.first)])
    growths, spectra = [], []
    places = {own.path[round(share * (len(own.path) - 1))][0] for share in TIMES}
    for number, t, x in own.path:
        # Where the flow has left the range of images, derivatives are rounding.
        if number not in places or not bool((x.abs() <= BIGGEST).all()):
            continue

        def field(x: Tensor, t: Tensor = t) -> Tensor:
            return follow.field(x, t)

        there = Jacobian(field, x)
        if not there.exact:
            continue
        start = properties.normal(x, settings.seed, identity, "flow", number)
        growths.append(float(jacobian.symmetric_part(there, start, properties.STEPS)[1]))
        spectra.append(_spectrum(there, start))
    stiffness, amplification = _steps(follow, own.steps, spectra)
    return (
        Passage(
            follow.rule.solver,
            own.steps,
            own.rejected,
            own.evaluations,
            max(growths, default=None),
            stiffness,
            amplification,
            error,
            follow.rule.tolerance is not None,
            stopped,
        ),
        [x for _, _, x in own.path],
        ends,
    )


def _followed(follow: Dynamics, x: Tensor, rule: Rule) -> tuple[Flow | None, str | None]:
    """The flow from x, with its path; or why there is none."""
    import torch

    from challenge.configs.errors import UserError
    from challenge.methods.solvers.ode import integrate

    begin = x.new_zeros(1)
    end = torch.full_like(begin, follow.horizon)
    with torch.no_grad():
        try:
            return integrate(follow.field, x, begin, end, rule, keep=10**6), None
        except UserError as error:
            return None, str(error)


def _steps(
    follow: Dynamics, count: int, spectra: Sequence[tuple[Tensor, Tensor]]
) -> tuple[float | None, float | None]:
    """Of so many steps h |lambda| and |R(h lambda)|, the largest; see `Passage`."""
    import torch

    from challenge.methods.solvers.ode import stability

    values, rest = (torch.cat([each[k] for each in spectra] or [torch.zeros(0)]) for k in (0, 1))
    if not count or not len(values):
        return None, None
    h = follow.horizon / count
    still = values.real <= UPRIGHT * values.abs()
    if not bool(still.any()):
        return h * float(values.abs().max()), None
    # A disc about each, of the radius of its residual: what all of it says is certain.
    turns = torch.polar(torch.ones(16), torch.arange(16) * (math.pi / 8)).to(values)
    reach = torch.cat([0 * turns[:1], turns / 2, turns])
    z = h * (values[still, None] + rest[still, None] * reach)
    grown = stability(follow.rule.tableau, z).abs().amin(1)
    return h * float(values.abs().max()), float(grown.max())


def _spectrum(at: Jacobian, start: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of a Jacobian that converged, complex, and their residuals, both flat."""
    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import jacobian

    values, rest = jacobian.eigenvalues(at, start, 2 * properties.STEPS)
    there = rest <= CONVERGED * values.abs().clamp_min(1e-6)
    return values[there], rest[there]


def _radius(at: Jacobian, start: Tensor) -> float | None:
    """|eigenvalue|, the largest of a Jacobian that converged, less its residual."""
    if not at.exact:
        return None
    values, rest = _spectrum(at, start)
    return float((values.abs() - rest).max()) if len(values) else None


def _repeated(step: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[Tensor]:
    """x, T(x), T(T(x)), ..."""
    while True:
        yield x
        x = step(x)
