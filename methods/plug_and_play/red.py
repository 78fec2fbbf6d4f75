"""Regularisation by denoising: the distance that a denoiser moves an image is a regulariser.

    E(x) = 1/2 ||A x - y||^2 + lambda/2 <x, x - D(x, s)>,   lambda = strength sigma^2 / s^2

Where D(c x) = c D(x) near c = 1 and the Jacobian of D is symmetric, the gradient is

    grad E(x) = A^T (A x - y) + lambda (x - D(x, s))

A denoiser in general is neither, and this is no gradient of anything (Reehorst, Schniter 2019);
the three algorithms then still have its zeros as their fixed points:

    gradient      x <- x - t grad E(x),   t = 1 / (||A||^2 / 2 + lambda)
    fixed_point   x <- (A^T A + lambda)^-1 (A^T y + lambda D(x, s))
    admm          v <- (D(v, s) + x + u) / 2, `inner` times;   u <- u + x - v;
                  x <- (A^T A + lambda)^-1 (A^T y + lambda (v - u))

which are their paper's section 4, with the penalty of admm lambda as well. For a Jacobian of D
between 0 and 1 the energy is convex, ||A||^2 + lambda bounds its curvature, and t is less than
twice the inverse of that. fixed_point is half-quadratic plug-and-play with penalty lambda
(`pnp.py`), so that with levels s that fall it is DPIR until they stay (`strength.py`).

Romano, Elad, Milanfar 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.parts import Denoiser
from challenge.methods.plug_and_play.denoisers import denoise
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

Algorithm = Literal["gradient", "fixed_point", "admm"]
USUAL = {"gradient": 100, "fixed_point": 10, "admm": 10}
"""Where the knob is null."""
STRENGTH, TIMES = 0.3, 1.5
"""In the flat top of a coarse grid on photographs blurred by seven camera shakes: 0.26 and 0.32
differ by 0.01 dB at 1.5 times the noise, and by 0.5 dB at 1."""


class State(NamedTuple):
    """What an algorithm carries from step to step, each of shape (B, C, H, W)."""

    x: Tensor
    v: Tensor
    """admm: the copy of x that is denoised."""
    scaled_dual: Tensor
    """admm: lambda u, which stays what it is when lambda changes."""


class Red(Method):
    """Regularisation by denoising: what a denoiser would take away is what is penalised.

        min_x 1/2 ||A x - y||^2 + lambda/2 <x, x - D(x, s)>,   lambda = strength sigma^2 / s^2

    sigma is the measurement's noise level, s that of the denoiser, which falls to its last value
    first. Three algorithms, whose equations open this file, end at the same points, the zeros of
    A^T (A x - y) + lambda (x - D(x, s)). Romano, Elad, Milanfar, The Little Engine that Could:
    Regularization by Denoising (RED), 2017; Reehorst, Schniter, Regularization by Denoising:
    Clarifications and New Interpretations, 2019.
    """

    reads = ("tune",)

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """Tune images are for what is tuned or measured."""
        return cls.reads if knobs["strength"] is None or is_measured(knobs) else ()

    def __init__(
        self,
        *,
        denoiser: Denoiser,
        algorithm: Algorithm = "fixed_point",
        iterations: Annotated[int, Ge(1), Le(10000)] | None = None,
        strength: Annotated[float, Gt(0)] | None = STRENGTH,
        level: Level | Literal["auto"] = "auto",
        times: Annotated[float, Gt(0)] = TIMES,
        first: Level = FIRST,
        falling: Annotated[float, Ge(0), Le(1)] = 0.7,
        inner: Annotated[int, Ge(1), Le(100)] = 1,
        denoised: bool = True,
        safeguard: Safeguard = "error",
        precision: Precision = "auto",
    ) -> None:
        """Take the denoiser and the knobs.

        Args:
            denoiser: the prior; its weights become part of this method's.
            algorithm: how the energy is minimised.
            iterations: how many; null: 10, of `gradient` 100.
            strength: of the regulariser, more is smoother; null: tuned on held-out images.
            level: the denoiser's last noise level, in units of the image range; auto: `times` that
                of the measurement.
            times: the last noise level, in units of the measurement's, where `level` is auto.
            first: noise level from which it falls.
            falling: share of the iterations in which the noise level falls; 0: it is the last one.
            inner: passes of the denoiser in an iteration of `admm`.
            denoised: the result is D(x) in place of x, at the last level.
            safeguard: what happens to an iteration that diverges: it is stopped with its residuals,
                or the best estimate until then is taken.
            precision: of the denoiser at inference; auto: as the denoiser's own, and where that is
                auto as well, bf16 where that costs this whole iteration at most 0.01 dB on the tune
                part.

        Raises:
            UserError: bf16 for a denoiser without a network, or a knob that nothing reads.
        """
        super().__init__()
        given = level != "auto"
        check_read("times", changed=times != TIMES, read=not given, why="with `method.level`")
        check_read("first", changed=first != FIRST, read=falling > 0, why="with `falling: 0`")
        check_read("inner", changed=inner != 1, read=algorithm == "admm", why="but by `admm`")
        self.denoiser = denoiser.requires_grad_(False)
        self.algorithm: Algorithm = algorithm
        self.iterations = iterations or USUAL[algorithm]
        self.strength = Strength(strength)
        self.level: float | Literal["auto"] = level
        self.times, self.first, self.falling = times, first, falling
        self.inner, self.denoised, self.safeguard = inner, denoised, safeguard
        self.wiener = WienerFilter()
        self.compute = precision_of(self.denoiser, precision)
        self.register_load_state_dict_pre_hook(from_before)

    def train(self, mode: bool = True) -> Red:
        """As of every module, but the denoiser computes as at inference."""
        super().train(mode)
        self.denoiser.eval()
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: a noise level outside of the denoiser's range, a strength that was not tuned.
            Diverges: the iteration does, unless the safeguard takes the best estimate.
        """
        data = DataTerm(y, physics)
        return self._solve(data, self.strength(data.sigma), self.safeguard)

    def estimates(
        self, y: Tensor, physics: LinearPhysics, count: int | None = None
    ) -> Iterator[Tensor]:
        """Yield x_1, x_2, ..., each of shape (B, C, H, W).

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            count: so many instead of `iterations`; beyond the last one, its level stays.
        """
        data = DataTerm(y, physics)
        strength = self.strength(data.sigma)
        yield from self._estimates(data, strength, self.safeguard, count or self.iterations)

    def stationary(self, y: Tensor, physics: LinearPhysics) -> Stationary:
        """The iteration at its last level; see `stationary.HasStationary`.

        Raises:
            UserError: of `admm`, whose state is more than one image.
        """
        data = DataTerm(y, physics)
        s = self._levels(data.sigma)[-1]
        weight = float(self.strength(data.sigma) * (data.sigma / s).square())
        if self.algorithm == "admm":
            raise UserError.of(
                "`method.algorithm`",
                "is `admm`, whose state is more than one image",
                "analyse the same prior with `gradient` or `fixed_point`: their limits are its",
            )
        gradient = self.algorithm == "gradient"
        step = 1 / (float(data.curvature) / 2 + weight) if gradient else 1 / weight
        # prox_f(D(x)) is a gradient step with tau lambda = 1.
        return Stationary(
            "red" if gradient else "gs",
            self.denoiser,
            lambda x: self._denoise(x, s),
            float(s),
            step,
            weight,
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

    def gradient(self, x: Tensor, y: Tensor, physics: LinearPhysics) -> Tensor:
        """A^T (A x - y) + lambda (x - D(x, s)) at the last level, shape (B, C, H, W)."""
        data = DataTerm(y, physics)
        s = self._levels(data.sigma)[-1]
        weight = self.strength(data.sigma) * (data.sigma / s).square()
        found: Tensor = data.gradient(x) + weight * (x - self._denoise(x, s))
        return found

    def _solve(self, data: DataTerm, strength: Tensor, safeguard: Safeguard) -> Tensor:
        *_, x = self._estimates(data, strength, safeguard, self.iterations)
        return self._denoise(x, self._levels(data.sigma)[-1]) if self.denoised else x

    def _estimates(
        self, data: DataTerm, strength: Tensor, safeguard: Safeguard, count: int
    ) -> Iterator[Tensor]:
        levels = self._levels(data.sigma)
        check_falling(self.denoiser, levels)
        x = self.wiener(data)[0]
        state, watch = State(x, x, torch.zeros_like(x)), Watch(x, safeguard)
        for k in range(count):
            s = levels[min(k, self.iterations - 1)]
            before = state.x
            state = self._step(state, data, s, strength * (data.sigma / s).square())
            x = watch(state.x, before)
            # What diverges is computed on as it stood, and may not spoil other images.
            v = torch.where(watch.stopped, x, state.v)
            state = State(x, v, torch.where(watch.stopped, 0.0, state.scaled_dual))
            yield x

    def _step(self, state: State, data: DataTerm, s: Tensor, weight: Tensor) -> State:
        """One iteration; the level s and lambda of shape (1 | B, 1, 1, 1)."""
        x = state.x
        if self.algorithm == "gradient":
            slope = data.gradient(x) + weight * (x - self._denoise(x, s))
            return state._replace(x=x - slope / (data.curvature / 2 + weight))
        if self.algorithm == "fixed_point":
            return state._replace(x=data.prox(self._denoise(x, s), weight, iterations=ITERATIONS))
        v, u = state.v, state.scaled_dual / weight
        for _ in range(self.inner):
            v = (self._denoise(v, s) + x + u) / 2
        u = u + x - v
        return State(data.prox(v - u, weight, iterations=ITERATIONS), v, weight * u)

    def _denoise(self, x: Tensor, s: Tensor) -> Tensor:
        return bounded(denoise(self.denoiser, x, s))

    def _levels(self, sigma: Tensor) -> Tensor:
        """s in every iteration, shape (K, 1 | B, 1, 1, 1); `sigma` is the measurement's."""
        last = last_level(sigma, self.level, self.times)
        return falling_levels(self.first, last, self.iterations, self.falling)
