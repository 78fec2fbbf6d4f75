"""The convergence analysis of a method: what is measured, and what the theorems make of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from challenge.submissions.reports import dynamics, subjects
from challenge.submissions.reports.analysis import Analysis, Course, Level, Settings, Statement
from challenge.submissions.reports.facts import Algorithm, Bound, Facts, worst_passage
from challenge.submissions.reports.scenes import NAMES, Scene, scene_of, side_of, worst_of
from challenge.submissions.reports.subjects import Kind
from challenge.submissions.reports.theorems import THEOREMS, Theorem, judge_all

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.data.challenges.challenge import Challenge
    from challenge.methods.contract import Method
    from challenge.methods.plug_and_play.properties import Properties
    from challenge.methods.plug_and_play.stationary import Stationary

ALONE: dict[Kind, Algorithm] = {
    "unrolled": "unrolled",
    "equilibrium": "deq",
    "flow": "neural_ode",
}
"""Kinds of one map that is followed, and that theorems know by another name."""
OnStep = Callable[[str, int, int], None]
"""Called with what is measured, how many of it are done, and of how many."""


def analyse(
    method: Method,
    name: str,
    challenge: Challenge,
    settings: Settings,
    progress: OnStep = lambda what, done, total: None,
) -> Analysis:
    """Measure a method on val images, and judge every theorem that speaks of it.

    Args:
        method: with its weights.
        name: in the report, and in messages.
        challenge: whose images and operator are taken.
        settings: how much.
        progress: called after each part.

    Raises:
        UserError: no theorem speaks of such a method, or it is for other images.
    """
    from challenge.methods.plug_and_play.properties import in_float32

    kind = subjects.kind_of(method, name)
    subjects.check_images(_prior(method), name, challenge)
    method.eval().requires_grad_(False)
    identities = tuple(challenge.ids("val")[: settings.images])
    side, whole = side_of(challenge, settings.size)
    settings = replace(settings, size=side)
    with in_float32(method):
        levels, courses = _measured(method, kind, challenge, identities, settings, progress)
    statements, silent = _judged(kind, _prior(method), levels, courses, settings)
    return Analysis(
        name,
        type(method).__name__,
        kind,
        challenge.config.name,
        settings,
        identities,
        levels,
        courses,
        statements,
        silent,
        whole,
    )


def _measured(
    method: Method,
    kind: Kind,
    challenge: Challenge,
    identities: Sequence[str],
    settings: Settings,
    progress: OnStep,
) -> tuple[tuple[Level, ...], tuple[Course, ...]]:
    assert settings.size is not None
    scenes = [scene_of(challenge, identity, settings.size) for identity in identities]
    if kind == "unrolled":
        return _unrolled(method, scenes, settings, progress)
    if kind == "equilibrium":
        return dynamics.equilibria(method, scenes, settings, progress)
    if kind == "flow":
        return dynamics.flows(method, scenes, settings, progress)
    asked = settings.levels or subjects.levels_of(method)
    # An iteration has its own level for every image.
    turns = [asked] if kind == "iteration" else [(level,) for level in asked]
    levels, courses, done = [], [], 0
    total = len(turns) * len(scenes) * 2
    for turn in turns:
        found, at = [], []
        for scene in scenes:
            step = settings.step or subjects.SHARE / scene.facts.curvature
            follow = subjects.iteration_of(
                method, kind, scene.y, scene.data.physics, turn[0], step, settings.algorithm
            )
            words = f"{255 * follow.level:.3g}/255"
            found.append(_properties(follow, scene, settings))
            progress(f"D at {words}", done := done + 1, total)
            courses.append(_course(method, kind, follow, scene, settings))
            progress(f"T at {words}", done := done + 1, total)
            at.append(follow.level)
        level = sum(at) / len(at)
        levels.append(worst_of(level, found, subjects.certificate(follow.prior)))
    return tuple(levels), tuple(courses)


def _properties(follow: Stationary, scene: Scene, settings: Settings) -> Properties:
    from challenge.methods.plug_and_play import properties

    return properties.measure(
        follow.denoise, scene.image, follow.level, scene.identity, settings.seed
    )


def _course(
    method: Method, kind: Kind, follow: Stationary, scene: Scene, settings: Settings
) -> Course:
    """T from two starts: what the method itself finds (of a denoiser, A^T y), and white noise."""
    import torch

    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import convergence, jacobian
    from challenge.methods.solvers.jacobian import Jacobian

    words = (settings.seed, scene.identity, follow.level)
    generator = properties.generator(*words, "start")
    noise = torch.rand(scene.image.shape, generator=generator)
    first = _first(method, kind, scene)
    objective: list[float] = []
    states = follow.iterate(scene.data, first)
    if follow.algorithm == "gs":
        states = _watched(states, follow, scene, objective)
    trace = convergence.trace(states, settings.iterations)
    other = convergence.trace(follow.iterate(scene.data, noise), settings.iterations)
    ends = [follow.estimate(scene.data, each.last) for each in (trace, other)]
    stretched = [each.contraction or 0.0 for each in (trace, other)]
    for k, point in enumerate((first, trace.last)):
        at = Jacobian(follow.map(scene.data), point)
        start = properties.normal(point, *words, "norm", k)
        stretched.append(float(jacobian.norm(at, start, properties.STEPS)[0]))
    upper = subjects.certificate(follow.prior)
    certified = follow.certified(
        scene.facts.mu if scene.facts.exact else 0.0,
        scene.facts.curvature if scene.facts.exact else math.inf,
        upper.denoiser,
        upper.residual,
    )
    return Course(
        scene.identity,
        follow.level,
        follow.algorithm,
        follow.step,
        follow.weight,
        follow.backtracks,
        scene.facts,
        trace.steps,
        trace.rate,
        max(value for value in stretched if math.isfinite(value)),
        certified if math.isfinite(certified) else None,
        convergence.distance(*ends),
        convergence.distance(first, noise),
        tuple(objective),
    )


def _first(method: Method, kind: Kind, scene: Scene) -> Tensor:
    import torch

    from challenge.configs.errors import UserError

    if kind == "iteration":
        try:
            with torch.no_grad():
                found: Tensor = method(scene.y, scene.data.physics)
            return found
        except UserError:  # it diverges: the iteration is followed from elsewhere
            pass
    return scene.data.back


def _watched(
    states: Iterator[Tensor], follow: Stationary, scene: Scene, objective: list[float]
) -> Iterator[Tensor]:
    """The states, with F = f + lambda g of each, where D has a potential g."""
    import torch

    from challenge.methods.plug_and_play.denoisers import HasPotential

    for x in states:
        if isinstance(follow.prior, HasPotential):
            level = torch.full((1, 1, 1, 1), follow.level)
            with torch.no_grad():
                g = float(follow.prior.potential(x, level).double())
                off = scene.data.physics.A(x) - scene.y
                f = float(off.double().square().sum()) / 2
            objective.append(f + follow.weight * g)
        yield x


def _unrolled(
    method: Method, scenes: Sequence[Scene], settings: Settings, progress: OnStep
) -> tuple[tuple[Level, ...], tuple[Course, ...]]:
    """The denoisers of its steps, and the last step repeated."""
    from challenge.methods.end_to_end.unrolled import Unrolled
    from challenge.methods.plug_and_play import properties
    from challenge.methods.solvers import convergence

    assert isinstance(method, Unrolled)
    active = int(method.active)
    levels, courses, done, total = [], [], 0, len(scenes) * (active + 1)
    for k in range(active):
        found, at = [], []
        for scene in scenes:
            at.append(float(method.level(k, scene.data.sigma).mean()))
            words = f"{scene.identity} {k}"
            # Features that travel from step to step are a part of the state, and here 0.
            denoise = method.denoiser(k, scene.data)
            found.append(properties.measure(denoise, scene.image, at[-1], words, settings.seed))
            progress(f"D of step {k + 1}", done := done + 1, total)
        level = sum(at) / len(at)
        levels.append(worst_of(level, found, label=f"step {k + 1}"))
    for scene in scenes:
        most = active + settings.iterations
        estimates = method.estimates(scene.y, scene.data.physics, most)
        trace = convergence.trace(_until_it_diverges(estimates), most - 1)
        # From the last step on it is one map, of x alone where x is all that travels.
        alone = method.memory == 0 and method.algorithm in ("pgd", "hqs")
        late = convergence.Trace(trace.steps[active - 1 :], trace.last)
        courses.append(
            Course(
                scene.identity,
                level,
                f"unrolled {method.algorithm}",
                None,
                1.0,
                False,
                scene.facts,
                trace.steps,
                late.rate,
                late.contraction if alone else None,
                None,
                None,
                None,
            )
        )
        progress("T", done := done + 1, total)
    return tuple(levels), tuple(courses)


def _until_it_diverges(estimates: Iterator[Tensor]) -> Iterator[Tensor]:
    """Beyond its own steps, `unrolled` says by an error that it left the range of images."""
    import torch

    from challenge.configs.errors import UserError

    for number in count():
        try:
            with torch.no_grad():  # never over a `yield`, where it would hold for the caller
                x = next(estimates)
        except StopIteration:
            return
        except UserError:
            if number < 2:  # there is no step that could be followed
                raise
            return
        yield x


def _prior(method: Method) -> Method:
    """The denoiser of an iteration; else the method itself."""
    from challenge.methods.contract import Method as Base

    inside = getattr(method, "denoiser", None)
    return inside if isinstance(inside, Base) else method


def _judged(
    kind: Kind,
    prior: Method,
    levels: Sequence[Level],
    courses: Sequence[Course],
    settings: Settings,
) -> tuple[tuple[Statement, ...], tuple[Theorem, ...]]:
    """Every theorem that speaks of the algorithm, at every level."""
    from challenge.methods.plug_and_play.denoisers import HasPotential

    potential = isinstance(prior, HasPotential)
    statements, silent = [], []
    for theorem in THEOREMS:
        judged = []
        for number, level in enumerate(levels[-1:] if kind in ALONE else levels):
            share = len(courses) // (len(levels) if kind == "denoiser" else 1)
            own = courses[number * share : (number + 1) * share]
            facts = _facts(kind, level, own, potential, settings)
            if not theorem.speaks_of(facts[0]):
                if kind != "denoiser" or not theorem.takes_denoisers:
                    break
                # Of a denoiser alone: what it would allow in the algorithm of the theorem.
                other = theorem.algorithms[0]
                facts = [
                    replace(each, algorithm=other, step=None, weight=1.0, last=None)
                    for each in facts
                ]
            judged.append((level.level, judge_all(theorem, facts)))
        if judged:
            statements.append(Statement(theorem, facts[0].algorithm, tuple(judged)))
        else:
            silent.append(theorem)
    return tuple(statements), tuple(silent)


def _facts(
    kind: Kind, level: Level, courses: Sequence[Course], potential: bool, settings: Settings
) -> list[Facts]:
    """At one level, for every image: its operator and step, and the worst of all that is measured.

    The step of a denoiser alone is free to choose.
    """
    bounds = [Bound(max(level.norms[name].values()), level.certified[name]) for name in NAMES]
    first = courses[0]
    expansions = [each.expansion for each in courses if each.expansion is not None]
    certified = [each.certified for each in courses]
    common = Facts(
        algorithm=ALONE.get(kind, first.algorithm),  # type: ignore[arg-type]
        data=first.data,
        denoiser=bounds[0],
        residual=bounds[1],
        reflected=bounds[2],
        iteration=Bound(
            max(expansions, default=None),
            None if None in certified else max(each for each in certified if each is not None),
        ),
        differentiable=level.differentiable,
        potential=potential,
        asymmetry=level.asymmetry,
        least=level.least,
        homogeneity=level.homogeneity,
        radius=level.radius,
        backtracks=first.backtracks,
        last=max((each.steps[-1] for each in courses if each.steps), default=None),
        attraction=max((each.radius for each in courses if each.radius is not None), default=None),
        passage=worst_passage([each.passage for each in courses if each.passage is not None]),
    )
    return [
        replace(
            common,
            data=each.data,
            step=settings.step if kind == "denoiser" else each.step,
            weight=each.weight,
        )
        for each in courses
    ]
