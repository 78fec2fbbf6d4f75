"""Plug-and-play: a proximal algorithm with a denoiser in place of the prox of a regulariser.

With f(x) = 1/2 ||A x - y||^2, a denoiser D, noise levels sigma_k and penalties R_k, pass k is

    hqs     x <- D(prox_{f, R_k}(x), sigma_k)
    admm    v = prox_{f, R_k}(x - u),   x <- D(v + u, sigma_k),     u <- u + v - x
    drs     v = prox_{f, R_k}(z),       x <- D(2 v - z, sigma_k),   z <- z + x - v
    pgd     x <- D(x - 1/R_k grad f(x), sigma_k),   R_k >= ||A||^2

where prox_{f, R}(v) = (A^T A + R)^-1 (A^T y + R v): in closed form where there is one, else by
conjugate gradients (`solvers/data_term.py`). Levels and penalties follow a schedule
(`noise_schedule.py`), in which R_k = strength sigma^2 / sigma_k^2 and sigma is the noise of the
measurement. x starts at the Wiener estimate.

Where D(., s) is the prox of s^2 P and the schedule is fixed, pgd, admm and drs converge to
argmin f + strength sigma^2 P, and hqs to the minimiser of strength sigma^2 P plus the Moreau
envelope of f with penalty R; of pgd this holds for levels up to sqrt(strength) sigma / ||A||. A
denoiser in general is no prox of anything: `safeguard.py` watches over the iteration.

Venkatakrishnan, Bouman, Wohlberg 2013 (admm); Zhang et al. 2021, DPIR (hqs, the schedule); Ryu et
al. 2019 (pgd, admm, drs with a fixed level).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.parts import Denoiser
from challenge.methods.plug_and_play import denoisers
from challenge.methods.plug_and_play.denoisers import check_colours, denoise, noise_range
from challenge.methods.plug_and_play.iteration_precision import (
    from_before,
    is_measured,
    measure,
    precision_of,
)
from challenge.methods.plug_and_play.noise_schedule import (
    Kind,
    NoiseSchedule,
    Passes,
    check_schedule,
)
from challenge.methods.plug_and_play.safeguard import Safeguard, Watch
from challenge.methods.plug_and_play.splitting import Algorithm, iterate
from challenge.methods.plug_and_play.stationary import Stationary
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.loop import READS, supervised
from challenge.methods.training.noise_ends import noise_ends
from challenge.methods.training.precision import Precision
from challenge.methods.training.tuned_numbers import TunedNumbers
from challenge.methods.training.tuning import tune_several
from challenge.methods.transforms.symmetries import averaged, turn

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

FIRST = 49 / 255
"""The level of DPIR's first pass."""
TIMES = 3.0
"""`level: auto` of a fixed schedule, in units of the measurement's level."""
STRENGTH = {"hqs": 0.23, "admm": 0.5, "drs": 0.5, "pgd": 0.5}
"""`strength: auto`. That of hqs, DPIR's, is lower, since the envelope of f is smoother than f."""
ITERATIONS = 100
"""Conjugate gradient steps of a data step, at most, where there is no closed form."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-11}
"""Their relative residual."""


class PnP(Method):
    """Plug-and-play: a proximal algorithm whose prox is a denoiser.

        x <- D(prox_{f,R_k}(x), sigma_k),   f = 1/2 ||A x - y||^2   (hqs)

    Also `admm`, `drs`, `pgd`; their equations open this file. The denoiser is a method of a
    denoising challenge and is not trained on: nothing but the measurement's operator and noise
    level need be known. Venkatakrishnan, Bouman, Wohlberg, Plug-and-play priors for model based
    reconstruction, 2013; Zhang, Li, Zuo, Zhang, Van Gool, Timofte, Plug-and-Play Image
    Restoration with Deep Denoiser Prior, 2021; Ryu et al., Plug-and-play methods provably
    converge with properly trained denoisers, 2019.
    """

    reads = READS

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """All for a learned schedule; tune images are for what is tuned or measured."""
        if knobs["schedule"] == "learned":
            return cls.reads
        tuned = None in (knobs["strength"], knobs["level"])
        return ("tune",) if tuned or is_measured(knobs) else ()

    def __init__(
        self,
        *,
        denoiser: Denoiser,
        algorithm: Algorithm = "hqs",
        schedule: Kind = "dpir",
        iterations: Annotated[int, Ge(1), Le(10000)] = 8,
        strength: Annotated[float, Gt(0)] | Literal["auto"] | None = "auto",
        level: Annotated[float, Gt(0), Le(1)] | Literal["auto"] | None = "auto",
        ensemble: bool = False,
        safeguard: Safeguard = "error",
        precision: Precision = "auto",
    ) -> None:
        """Take the denoiser and the knobs.

        Args:
            denoiser: the prior; its weights become part of this method's.
            algorithm: which one it is plugged into.
            schedule: of the denoiser's noise levels: `dpir` from `level` down to that of the
                measurement, equally spaced on a log scale; `fixed` at `level`; `learned` begins as
                `dpir`, and level and penalty of every pass are trained.
            iterations: passes of the denoiser.
            strength: of the regulariser, more is smoother; auto: 0.23 for hqs, else 0.5; null:
                tuned on held-out images.
            level: noise level of the first pass, in units of the image range; auto: 49/255, of a
                fixed schedule three times the measurement's (pgd: the longest step's); null: tuned
                on held-out images.
            ensemble: the denoiser is averaged over the eight turned and mirrored copies of its
                image, for eight times the time.
            safeguard: what happens to an iteration that diverges: it is stopped with its residuals,
                or the best estimate until then is taken.
            precision: of the denoiser at inference; auto: as the denoiser's own, and where that is
                auto as well, bf16 where that costs this whole iteration at most 0.01 dB on the tune
                part.

        Raises:
            UserError: a learned schedule with a number that is to be tuned, or a denoiser that
                cannot be differentiated; bf16 for one without a network.
        """
        super().__init__()
        for name, value in (("strength", strength), ("level", level)):
            if schedule == "learned" and value is None:
                raise UserError.of(
                    f"`method.{name}`",
                    "is `null`, to be tuned, in a schedule that is learned from it on",
                    "leave it out, or give a number",
                )
        if schedule == "learned" and not isinstance(denoiser, denoisers.Denoiser):
            raise UserError.of(
                "`method.schedule`",
                "is `learned`, through a denoiser that cannot be differentiated",
                "give `method.denoiser` a network such as `drunet`, or `method.schedule=dpir`",
            )
        self.denoiser = denoiser.requires_grad_(False)
        self.algorithm: Algorithm = algorithm
        self.iterations, self.strength, self.level = iterations, strength, level
        self.ensemble, self.safeguard = ensemble, safeguard
        self.schedule = NoiseSchedule(schedule, iterations)
        self.wiener = WienerFilter()
        sought = [name for name in ("strength", "level") if getattr(self, name) is None]
        self.tuned = TunedNumbers(sought)
        self.compute = precision_of(self.denoiser, precision)
        self.register_load_state_dict_pre_hook(from_before)

    def train(self, mode: bool = True) -> PnP:
        """As of every module, but of the denoiser the precision alone is that of a training."""
        super().train(mode)
        self.denoiser.eval()
        self.compute.train(mode)
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: a noise level outside of the denoiser's range, a number that was not tuned.
            Diverges: the iteration does, unless the safeguard takes the best estimate.
        """
        *_, x_hat = self.estimates(y, physics)
        return x_hat

    def estimates(
        self,
        y: Tensor,
        physics: LinearPhysics,
        count: int | None = None,
        start: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the estimate after every pass of the denoiser, each of shape (B, C, H, W).

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            count: so many passes instead of `iterations`; beyond the last one, its level and
                penalty stay.
            start: the first estimate, shape (B, C, H, W); the Wiener estimate by default.
        """
        data = _data_term(y, physics)
        least = self._least(data)
        strength = self._strength(data.sigma)
        levels = self._levels(data.sigma, strength, least)
        check_schedule(self.denoiser, self.schedule.kind, levels)
        passes = self.schedule(levels, strength, data.sigma, noise_range(self.denoiser), least)
        x = self._start(data, start)
        watch = None if self.training else Watch(x, self.safeguard)
        yield from self._iterate(data, passes, x, count or self.iterations, watch)

    def stationary(self, y: Tensor, physics: LinearPhysics) -> Stationary:
        """The iteration at its last level and penalty; see `stationary.HasStationary`."""
        data = _data_term(y, physics)
        strength, least = self._strength(data.sigma), self._least(data)
        levels = self._levels(data.sigma, strength, least)
        passes = self.schedule(levels, strength, data.sigma, noise_range(self.denoiser), least)
        level, penalty = passes.levels[-1], float(passes.penalties[-1])

        def single(x: Tensor) -> Tensor:
            return denoise(self.denoiser, x, level)

        return Stationary(
            self.algorithm,
            self.denoiser,
            (lambda x: _ensemble(single, x)) if self.ensemble else single,
            float(level),
            1 / penalty,
            weight=penalty,
        )

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then the schedule, or the numbers that are not given.

        Numbers are tuned at one noise level, or at both ends of the range, for the best mean PSNR
        on the tune images. At the end, what bfloat16 costs is measured there.

        Raises:
            UserError: the denoiser is for other images or for other noise levels.
        """
        check_colours(self.denoiser, problem)
        sigma = torch.tensor(noise_ends(problem, images)).reshape(-1, 1, 1, 1)
        # A level that is to be tuned will be inside; where a schedule ends is known before.
        first = sigma if self.level is None else None
        strength = self._strength(sigma) if self.strength is not None else self._usual(sigma)
        levels = self._levels(sigma, strength, torch.ones_like(sigma), first)
        check_schedule(self.denoiser, self.schedule.kind, levels)
        self.wiener.learn(images)
        self.to(session.fabric.device)
        steps = 1
        if self.schedule.kind == "learned":
            steps = supervised(self, problem, images, train, session)
        elif self.tuned.names:
            self._tune(problem, images, train, session)
        measure(self, problem, images, train, session, steps=steps)

    def _tune(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        def reconstruct(y: Tensor, physics: LinearPhysics, values: Tensor) -> Tensor:
            data = _data_term(y, physics)
            numbers = dict(zip(self.tuned.names, values, strict=True))
            strength, least = numbers.get("strength"), self._least(data)
            strength = self._strength(data.sigma) if strength is None else strength
            levels = self._levels(data.sigma, strength, least, numbers.get("level"))
            passes = self.schedule(levels, strength, data.sigma, least=least)
            *_, x = self._iterate(data, passes, self._start(data), self.iterations)
            return x.nan_to_num(0.0)

        def start(sigma: float) -> list[float]:
            usual = TIMES * sigma if self.schedule.kind == "fixed" else FIRST
            begin = {"strength": STRENGTH[self.algorithm], "level": usual}
            return [begin[name] for name in self.tuned.names]

        found = tune_several(
            reconstruct, problem, images, train, session, names=self.tuned.names, start=start
        )
        if found is not None:
            self.tuned.store(*found)

    def _start(self, data: DataTerm, start: Tensor | None = None) -> Tensor:
        """The first estimate, shape (B, C, H, W)."""
        return self.wiener(data)[0] if start is None else start

    def _iterate(
        self, data: DataTerm, passes: Passes, x: Tensor, count: int, watch: Watch | None = None
    ) -> Iterator[Tensor]:
        """Yield the estimates of `count` passes that begin at `x`."""

        def denoiser(v: Tensor, level: Tensor) -> Tensor:
            def single(v: Tensor) -> Tensor:
                return denoise(self.denoiser, v, level)

            return _ensemble(single, v) if self.ensemble else single(v)

        yield from iterate(
            self.algorithm, denoiser, data, passes, x, count, watch, checkpointed=self.training
        )

    def _least(self, data: DataTerm) -> Tensor | None:
        """The least penalty, shape (1 | B, 1, 1, 1): pgd's step has a bound, 1 / ||A||^2."""
        return data.curvature if self.algorithm == "pgd" else None

    def _usual(self, sigma: Tensor) -> Tensor:
        """`strength: auto`, as `sigma` is shaped."""
        return torch.full_like(sigma, STRENGTH[self.algorithm])

    def _strength(self, sigma: Tensor) -> Tensor:
        """The strength for every image, shape (1 | B, 1, 1, 1)."""
        if self.strength is None:
            return self.tuned.value("strength", sigma)
        if self.strength == "auto":
            return self._usual(sigma)
        return torch.full_like(sigma, self.strength)

    def _levels(
        self,
        sigma: Tensor,
        strength: Tensor,
        least: Tensor | None,
        first: Tensor | None = None,
    ) -> Tensor:
        """The schedule's levels before what was learned, shape (K, 1 | B, 1, 1, 1).

        Args:
            sigma: noise level of the measurement, shape (1 | B, 1, 1, 1).
            strength: of the regulariser, likewise.
            least: the least penalty of pgd, likewise.
            first: level of the first pass; that of the knob by default.
        """
        last = sigma
        if self.algorithm == "pgd" and least is not None:
            last = sigma * (strength / least).sqrt()
        if first is not None or self.level is None:
            # What was tuned does not leave the denoiser's range.
            tuned = self.tuned.value("level", sigma) if first is None else first
            first = tuned.clamp(*(noise_range(self.denoiser) or (None, 1.0))).expand_as(sigma)
        elif self.level != "auto":
            first = torch.full_like(sigma, self.level)
        elif self.schedule.kind != "fixed":
            first = torch.full_like(sigma, FIRST)
        else:
            first = last if self.algorithm == "pgd" else TIMES * sigma
        return self.schedule.levels(first, last)


def _ensemble(denoiser: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """D_8(x). The operator need not be turned: the data step is the same in turned coordinates,
    prox_{f T^-1}(T v) = T prox_f(v)."""
    return averaged(lambda which: denoiser(turn(x, which)))


def _data_term(y: Tensor, physics: LinearPhysics) -> DataTerm:
    tolerance = TOLERANCE.get(y.dtype, 1e-6)
    return DataTerm(y, physics, tolerance=tolerance, iterations=ITERATIONS)
