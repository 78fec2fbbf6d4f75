"""Gradient-step plug-and-play: descent on an objective that is known, with a denoiser in it.

    F(x) = f(x) + lambda g(x, s),   f(x) = 1/2 ||A x - y||^2,   D(x, s) = x - grad g(x, s)

    x_{k+1} = prox_{tau f}(x_k - tau lambda grad g(x_k, s))
            = (A^T A + 1/tau)^-1 (A^T y + ((1 - tau lambda) x_k + tau lambda D(x_k, s)) / tau)

with lambda = strength sigma^2 / s^2. tau begins at 1 / lambda, where the step denoises x_k, and is
made smaller, for every image by itself, until

    F(x_k) - F(x_{k+1}) >= gamma / tau ||x_k - x_{k+1}||^2

so that F falls, and the sum of all squared steps is finite, whatever g is: proximal gradient
descent with backtracking. Hurault, Leclaire, Papadakis 2022, sections 4.1 and 4.2.

Theirs are lambda, s, the first tau, gamma, the share at which an image is finished, and D(x) as the
result. They begin at prox_{tau f}(y) and take up to 400 steps; here a few steps with levels that
fall come first, so that 20 are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.parts import Potential
from challenge.methods.plug_and_play.denoisers import HasPotential, denoise
from challenge.methods.plug_and_play.iteration_precision import (
    from_before,
    is_measured,
    measure,
    precision_of,
)
from challenge.methods.plug_and_play.safeguard import Safeguard, Watch
from challenge.methods.plug_and_play.stationary import Stationary
from challenge.methods.plug_and_play.strength import (
    FIRST,
    ITERATIONS,
    Level,
    Strength,
    bounded,
    check_denoiser,
    check_falling,
    check_read,
    falling_levels,
    last_level,
)
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.precision import Precision

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

STRENGTH, TIMES = 0.32, 1.8
"""Those of the authors' program for motion blur, where lambda = strength / times^2 is 0.1 at every
noise level; for uniform and Gaussian blur they have 0.075, a strength of 0.24, for
super-resolution 0.065 and times 2, a strength of 0.26."""
GAMMA, SHRINK = 0.1, 0.5
"""Share of the decrease that is asked for, the authors', and by what tau falls where it is missed;
they take 0.9."""
TRIALS = 20
"""Values of tau in one step, at most; an image that takes none of them stays where it is."""
ROUNDING = 16
"""A change of F below so many units of its last place is none."""


class Point(NamedTuple):
    """Where an image is, and what is known there."""

    x: Tensor
    """Shape (B, C, H, W)."""
    denoised: Tensor
    """D(x, s), of the same shape."""
    objective: Tensor
    """F(x), shape (B,), in double precision."""


class GSPnP(Method):
    """Gradient-step plug-and-play: its objective is known, and falls in every step.

        min_x 1/2 ||A x - y||^2 + lambda g(x, s),   lambda = strength sigma^2 / s^2

    For a denoiser with a potential, D = I - grad g, such as `gsdrunet`. sigma is the measurement's
    noise level, s that of the denoiser. Proximal gradient descent with backtracking begins where a
    few steps of plug-and-play with falling levels end. Hurault, Leclaire, Papadakis, Gradient Step
    Denoiser for Convergent Plug-and-Play, 2022.
    """

    reads = ("tune",)

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """Tune images are for what is tuned or measured."""
        return cls.reads if knobs["strength"] is None or is_measured(knobs) else ()

    def __init__(
        self,
        *,
        denoiser: Potential = None,
        iterations: Annotated[int, Ge(1), Le(10000)] = 20,
        tolerance: Annotated[float, Ge(0)] = 1e-5,
        strength: Annotated[float, Gt(0)] | None = STRENGTH,
        level: Level | Literal["auto"] = "auto",
        times: Annotated[float, Gt(0)] = TIMES,
        first: Level = FIRST,
        warm_up: Annotated[int, Ge(0), Le(1000)] = 6,
        denoised: bool = True,
        safeguard: Safeguard = "error",
        precision: Precision = "auto",
    ) -> None:
        """Take the denoiser and the knobs.

        Args:
            denoiser: the prior, with a potential, such as a run of `gsdrunet`; its weights become
                part of this method's.
            iterations: steps of the descent, at most.
            tolerance: an image is finished when a step takes less than this share off its
                objective.
            strength: of the regulariser, more is smoother; null: tuned on held-out images.
            level: the denoiser's noise level, in units of the image range; auto: `times` that of
                the measurement.
            times: the noise level, in units of the measurement's, where `level` is auto.
            first: noise level from which it falls before the descent begins.
            warm_up: steps of plug-and-play before the descent, in which the noise level falls.
            denoised: the result is D(x) in place of x, as in the paper.
            safeguard: what happens to a start that diverges: it is stopped with its residuals, or
                the best estimate until then is taken; the descent cannot diverge.
            precision: of the denoiser at inference; auto: as the denoiser's own, and where that is
                auto as well, bf16 where that costs this whole iteration at most 0.01 dB on the tune
                part.

        Raises:
            UserError: no denoiser is given, one that has no potential, bf16 for one without a
                network, or a knob that nothing reads.
        """
        super().__init__()
        if denoiser is None:
            remedy = "give a run of `gsdrunet`, such as `method.denoiser=RUN`"
            raise UserError.of("`method.denoiser`", "is missing", remedy)
        if not isinstance(denoiser, HasPotential):
            raise UserError.of(
                "`method.denoiser`",
                f"`{type(denoiser).__name__}` has no potential, so that there is no objective",
                "give a gradient-step denoiser such as a run of `gsdrunet`, or take `red`",
            )
        given = level != "auto"
        check_read("times", changed=times != TIMES, read=not given, why="with `method.level`")
        check_read("first", changed=first != FIRST, read=warm_up > 0, why="with `warm_up: 0`")
        self.denoiser = denoiser.requires_grad_(False)
        self.iterations, self.tolerance = iterations, tolerance
        self.strength = Strength(strength)
        self.level: float | Literal["auto"] = level
        self.times, self.first, self.warm_up = times, first, warm_up
        self.denoised, self.safeguard = denoised, safeguard
        self.wiener = WienerFilter()
        self.compute = precision_of(self.denoiser, precision)
        self.register_load_state_dict_pre_hook(from_before)

    def train(self, mode: bool = True) -> GSPnP:
        """As of every module, but the denoiser computes as at inference."""
        super().train(mode)
        self.denoiser.eval()
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: a noise level outside of the denoiser's range, a strength that was not tuned.
            Diverges: the start does, unless the safeguard takes the best estimate.
        """
        data = DataTerm(y, physics)
        return self._solve(data, self.strength(data.sigma), self.safeguard)

    def estimates(
        self, y: Tensor, physics: LinearPhysics, count: int | None = None
    ) -> Iterator[Tensor]:
        """Yield x_0, where the descent begins, x_1, x_2, ..., each of shape (B, C, H, W).

        Ends when all images are finished.

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            count: so many steps instead of `iterations`, at most.
        """
        data = DataTerm(y, physics)
        strength = self.strength(data.sigma)
        for point in self._points(data, strength, self.safeguard, count or self.iterations):
            yield point.x

    def objective(self, x: Tensor, y: Tensor, physics: LinearPhysics) -> Tensor:
        """F(x), shape (B,), in double precision."""
        data = DataTerm(y, physics)
        s = self._levels(data.sigma)[-1]
        return self._at(x, data, s, self._weight(data, self.strength(data.sigma), s)).objective

    def stationary(self, y: Tensor, physics: LinearPhysics) -> Stationary:
        """The descent with the step that it begins with; see `stationary.HasStationary`."""
        data = DataTerm(y, physics)
        s = self._levels(data.sigma)[-1]
        weight = float(self._weight(data, self.strength(data.sigma), s))
        return Stationary(
            "gs",
            self.denoiser,
            lambda x: denoise(self.denoiser, x, s),
            float(s),
            1 / weight,
            weight,
            backtracks=True,
        )

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the power spectrum to start from, and tune the strength, unless it is given.

        At one noise level, or at both ends of the range. At the end, what bfloat16 costs is
        measured on the tune part.

        Raises:
            UserError: the denoiser is for other images or for other noise levels.
        """
        check_denoiser(self.denoiser, problem, images, self._levels)
        self.wiener.learn(images)
        self.to(session.fabric.device)
        self.strength.tune(
            lambda y, physics, value: self._solve(DataTerm(y, physics), value, "best"),
            problem,
            images,
            train,
            session,
            usual=STRENGTH,
        )
        measure(self, problem, images, train, session)

    def _solve(self, data: DataTerm, strength: Tensor, safeguard: Safeguard) -> Tensor:
        *_, point = self._points(data, strength, safeguard, self.iterations)
        found: Tensor = point.denoised if self.denoised else point.x
        return found

    def _points(
        self, data: DataTerm, strength: Tensor, safeguard: Safeguard, count: int
    ) -> Iterator[Point]:
        """Yield where the descent begins, and where every step ends."""
        s = self._levels(data.sigma)[-1]
        weight = self._weight(data, strength, s)
        point = self._at(self._begin(data, strength, safeguard), data, s, weight)
        # Of a potential that is not a number, nothing can be said later on.
        seen = Watch(point.x, safeguard)(point.denoised, point.x)
        point = point._replace(denoised=seen)
        yield point
        tau = (1 / weight).expand(len(point.x), 1, 1, 1)
        active = torch.ones_like(point.objective, dtype=torch.bool)
        for _ in range(count):
            before = point.objective
            point, tau, moved = self._step(point, tau, active, data, s, weight)
            yield point
            active = moved & (before - point.objective > self.tolerance * before)
            if not bool(active.any()):
                return

    def _begin(self, data: DataTerm, strength: Tensor, safeguard: Safeguard) -> Tensor:
        """x_0: half-quadratic plug-and-play from the Wiener estimate with falling levels."""
        x: Tensor = self.wiener(data)[0]
        levels = self._levels(data.sigma)
        check_falling(self.denoiser, levels)
        watch = Watch(x, safeguard)
        for each in levels[:-1]:
            weight = self._weight(data, strength, each)
            ahead = bounded(denoise(self.denoiser, x, each))
            ahead = data.prox(ahead, weight, iterations=ITERATIONS)
            x = watch(ahead, x)
        return x

    def _step(
        self,
        point: Point,
        tau: Tensor,
        active: Tensor,
        data: DataTerm,
        s: Tensor,
        weight: Tensor,
    ) -> tuple[Point, Tensor, Tensor]:
        """The next point, tau of shape (B, 1, 1, 1), and which images moved, shape (B,)."""
        waiting, found = active, point
        rounding = ROUNDING * torch.finfo(point.x.dtype).eps * point.objective.abs()
        for _ in range(TRIALS):
            ahead = point.x + tau * weight * (point.denoised - point.x)
            x = data.prox(ahead, 1 / tau, iterations=ITERATIONS)
            trial = self._at(x, data, s, weight)
            length = (trial.x - point.x).double().square().flatten(1).sum(1)
            fall = point.objective - trial.objective
            enough = (fall >= GAMMA / tau.flatten() * length) & (fall >= 0)
            taken = waiting & enough
            found = Point(*(_where(taken, new, old) for new, old in zip(trial, found, strict=True)))
            # Of a change that is all rounding, a smaller tau learns nothing.
            waiting = waiting & ~enough & ~(fall.abs() <= rounding)
            if not bool(waiting.any()):
                break
            tau = _where(waiting, SHRINK * tau, tau)
        return found, tau, found.objective < point.objective

    def _at(self, x: Tensor, data: DataTerm, s: Tensor, weight: Tensor) -> Point:
        """D and F at x; `torch.func`, so that the gradient is there under `no_grad` as well."""
        denoiser = cast(HasPotential, self.denoiser)

        def total(at: Tensor) -> tuple[Tensor, Tensor]:
            g = denoiser.potential(at, s)
            return g.sum(), g

        slope, g = torch.func.grad(total, has_aux=True)(x)
        error = (data.physics.A(x) - data.y).double()
        f = error.square().flatten(1).sum(1) / 2
        return Point(x, x - slope, f + weight.flatten().double() * g.double())

    def _levels(self, sigma: Tensor) -> Tensor:
        """Those of the start, then s, (K + 1, 1 | B, 1, 1, 1); `sigma` is the measurement's."""
        last = last_level(sigma, self.level, self.times)
        # In K of K + 1 iterations, so that the last one is s itself.
        count = self.warm_up + 1
        return falling_levels(self.first, last, count, self.warm_up / count)

    @staticmethod
    def _weight(data: DataTerm, strength: Tensor, s: Tensor) -> Tensor:
        """lambda of a level, shape (1 | B, 1, 1, 1)."""
        return strength * (data.sigma / s).square()


def _where(images: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The new values of some images, shape (B,), and the old ones of the others."""
    return torch.where(images.reshape(-1, *(1,) * (new.dim() - 1)), new, old)
