"""Posterior sampling: a diffusion is run backwards with a denoiser that knows the measurement.

    D_y(x, s) = E[x_0 | x, y]                                           (`guidance.py`)
    x <- D_y + sqrt(s_{k+1}^2 - eta^2 t_k^2) (x - D_y) / s_k + eta t_k n,   n ~ N(0, I)
    t_k^2 = s_{k+1}^2 (1 - s_{k+1}^2 / s_k^2)

over falling noise levels s_1 > ... > s_K > s_{K+1} = 0, from x = x_W + s_1 n, where x_W is the
Wiener estimate: where s_1 is far above the error of x_W, nothing else of it is seen (Chung, Sim, Ye
2022). The aliasing of `mri` is seen, at s_1 = 50/255. eta = 0 is the probability-flow ODE, eta = 1
the reverse-time SDE (Song, Meng, Ermon 2021).

Draws differ in their noise alone. Their mean approaches E[x_0 | y], the estimate with the highest
expected PSNR, which no single draw is: one draw has twice its mean squared error, and the
statistics of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session, TimeLimit
from challenge.methods.generative.guidance import Guidance, Weights, posterior_mean
from challenge.methods.generative.noise_levels import drawn, levels
from challenge.methods.generative.samplers import descend
from challenge.methods.parts import Denoiser
from challenge.methods.plug_and_play import denoisers
from challenge.methods.plug_and_play.denoisers import (
    check_colours,
    check_levels,
    denoise,
    noise_range,
)
from challenge.methods.plug_and_play.iteration_precision import precision_of
from challenge.methods.plug_and_play.strength import check_read
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.allowance import REACH, SHARE, seconds_a_pass
from challenge.methods.training.noise_ends import noise_ends

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

FIRST, LAST = 0.5, 2 / 255
"""`highest: auto` and `lowest: auto`, where the denoiser's range goes so far."""
STEPS = 20
"""`steps: auto` before anything is measured."""
FEWEST, MOST = 5, 100
"""`steps: auto` is between them; fewer are no diffusion, more change nothing that is seen."""
BIGGEST = 10.0
"""A sample beyond this, in units of the image range, has left every image behind."""
ITERATIONS = 100
"""Conjugate gradient steps of a data step, at most, where there is no closed form."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-11}
"""Their relative residual."""


class Diffusion(Method):
    """Posterior sampling with a denoiser: the mean of several draws, or one.

        x ~ p(x | y),   x_hat = mean of the draws   (or a draw)

    Guidance: `moment`, `pigdm`, `dps` go back through the denoiser, `diffpir` does not and is the
    fastest; their equations open `generative/guidance.py`. Zhu, Zhang, Liang, Cao, Wen, Timofte,
    Van Gool, Denoising Diffusion Models for Plug-and-Play Image Restoration, 2023; Song, Vahdat,
    Mardani, Kautz, Pseudoinverse-Guided Diffusion Models for Inverse Problems, 2023; Chung, Kim,
    McCann, Klasky, Ye, Diffusion Posterior Sampling for General Noisy Inverse Problems, 2023;
    Rozet, Andry, Lanusse, Louppe, Learning Diffusion Priors from Observations by Expectation
    Maximization, 2024.
    """

    reads = ()

    steps_found: Tensor

    def __init__(
        self,
        *,
        denoiser: Denoiser,
        guidance: Guidance = "diffpir",
        draws: Annotated[int, Ge(1), Le(1000)] = 8,
        seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0,
        steps: Annotated[int, Ge(1), Le(10000)] | Literal["auto"] = "auto",
        highest: Annotated[float, Gt(0), Le(1000)] | Literal["auto"] = "auto",
        lowest: Annotated[float, Gt(0), Le(1)] | Literal["auto"] = "auto",
        rho: Annotated[float, Ge(1), Le(100)] = 7.0,
        eta: Annotated[float, Ge(0), Le(1)] = 1.0,
        strength: Annotated[float, Gt(0)] = 1.0,
        spread: Annotated[float, Gt(0)] = 0.15,
        weight: Annotated[float, Gt(0)] = 1.0,
        solves: Annotated[int, Ge(1), Le(1000)] = 5,
    ) -> None:
        """Take the denoiser and the knobs.

        Args:
            denoiser: the prior, a score by Tweedie's formula; its weights become part of this
                method's.
            guidance: how the measurement enters.
            draws: samples of an image; x_hat is their mean, and their pixelwise standard deviation
                is given with it; 1: a single sample.
            seed: of their noise; draw, step and seed alone decide it.
            steps: passes of the denoiser in a draw; auto: as many as 40 % of the judge's time
                suffice for, by a pass that is timed, from 5 to 100; 20 where nothing says how much
                time there is.
            highest: noise level of the first pass, in units of the image range; auto: 0.5, or the
                highest that the denoiser was trained for.
            lowest: noise level of the last pass; auto: 2/255, or the lowest that it was trained
                for.
            rho: by how much more of the steps are at low levels; see `generative/noise_levels.py`.
            eta: fresh noise in every step: 0 none, the probability-flow ODE; 1 the reverse SDE.
            strength: of the prior in `diffpir`, more is smoother.
            spread: of an image's pixels about their mean given a very noisy copy, for all but
                `moment`: at high levels the measurement counts no more than this allows.
            weight: of the measurement in `dps`.
            solves: conjugate gradient steps in every pass of `moment`, at most.

        Raises:
            UserError: levels that do not fall, or a guidance that goes back through a denoiser
                which cannot be differentiated.
        """
        super().__init__()
        if guidance != "diffpir" and not isinstance(denoiser, denoisers.Denoiser):
            raise UserError.of(
                "`method.guidance`",
                f"is `{guidance}`, through a denoiser that cannot be differentiated",
                "give `method.denoiser` a network such as `drunet`, or `method.guidance=diffpir`",
            )
        if "auto" not in (highest, lowest):
            _check_ends(float(lowest), float(highest))
        usual = Weights()
        for knob, value, kinds in (
            ("strength", strength, ("diffpir",)),
            ("spread", spread, ("pigdm", "diffpir", "dps")),
            ("weight", weight, ("dps",)),
            ("solves", solves, ("moment",)),
        ):
            changed = value != getattr(usual, knob)
            check_read(knob, changed=changed, read=guidance in kinds, why=f"by `{guidance}`")
        self.denoiser = denoiser.requires_grad_(False)
        # What bfloat16 costs a denoiser by itself says nothing of what it costs a sample.
        precision_of(denoiser, "auto")
        self.guidance: Guidance = guidance
        self.draws, self.seed, self.steps = draws, seed, steps
        self.highest, self.lowest, self.rho, self.eta = highest, lowest, rho, eta
        self.weights = Weights(strength, spread, weight, solves)
        self.wiener = WienerFilter()
        self.register_buffer("steps_found", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Diffusion:
        """As of every module, but the denoiser computes as at inference."""
        super().train(mode)
        self.denoiser.eval()
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """The mean of the draws: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: a noise level outside of the denoiser's range, or a sample that is not
                finite.
        """
        x_hat, _ = self._moments(y, physics)
        return x_hat

    def with_deviation(self, y: Tensor, physics: LinearPhysics) -> tuple[Tensor, Tensor | None]:
        """x_hat, and the standard deviation of the truth about it, each of shape (B, C, H, W).

        That of n draws about their mean, unbiased in the variance, times sqrt(1 + 1/n) for the
        error of the mean itself; none of a single draw.
        """
        x_hat, squares = self._moments(y, physics)
        if self.draws == 1:
            return x_hat, None
        variance = squares / (self.draws - 1)
        return x_hat, (variance * (1 + 1 / self.draws)).sqrt()

    def samples(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """All draws, shape (draws, B, C, H, W); arguments as for `forward`."""
        return torch.stack(list(self._samples(y, physics)))

    def _samples(self, y: Tensor, physics: LinearPhysics) -> Iterator[Tensor]:
        """One draw after the other: on a processor, all at once are no faster."""
        data = _data_term(y, physics)
        for draw in range(self.draws):
            for x in self.draw(data, draw):
                last = x
            yield last

    def _moments(self, y: Tensor, physics: LinearPhysics) -> tuple[Tensor, Tensor]:
        """Mean of the draws and their summed squares about it (Welford 1962): two images, not n."""
        mean = squares = torch.zeros((), dtype=y.dtype, device=y.device)
        for count, x in enumerate(self._samples(y, physics), 1):
            away = x - mean
            mean = mean + away / count
            squares = squares + away * (x - mean)
        return mean, squares

    def draw(self, data: DataTerm, draw: int) -> Iterator[Tensor]:
        """Yield the estimate of every step of one draw, the last of which is the sample.

        Args:
            data: the measurements.
            draw: which one, from 0.
        """
        schedule = self._levels(data.sigma)
        self._check_range(schedule)
        noise = drawn(self.seed, draw, data.back)
        x = self.wiener(data)[0] + schedule[0] * noise(0)
        guided = posterior_mean(self.guidance, self._denoise, data, self.weights)
        yield from descend(guided, x, schedule, noise, self.eta, self._check)

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, and how many steps the judge's time suffices for.

        Raises:
            UserError: the denoiser is for other images or for other noise levels, or there is too
                little time.
        """
        check_colours(self.denoiser, problem)
        self._check_range(self._levels(torch.tensor(noise_ends(problem, images))))
        self.wiener.learn(images)
        limit = session.time_limit
        if limit is not None:
            seconds = self._seconds(problem, images, limit)
            self.steps_found.fill_(self._affordable(limit.seconds, seconds))
            session.log(0, 0, steps=self._count, seconds_a_pass=seconds)

    @property
    def _count(self) -> int:
        """The passes of a draw."""
        if self.steps != "auto":
            return self.steps
        return int(self.steps_found) or STEPS

    def _affordable(self, limit: float, seconds: float) -> int:
        """The steps of `auto`.

        Args:
            limit: seconds that the judge leaves an image.
            seconds: of a pass of one draw.

        Raises:
            UserError: there are too few, or the number that is given takes too long.
        """
        possible = int(REACH * limit / (seconds * self.draws))
        fewer = max(1, int(SHARE * limit / (seconds * FEWEST)))
        if self.steps != "auto" and self.steps > possible:
            wanted = self.steps * self.draws * seconds
            raise UserError.of(
                "`method.steps`",
                f"is `{self.steps}`: with {_counted(self.draws)} that takes {wanted:.3g} s an "
                f"image, {REACH:.0%} of what the judge's limit leaves is {REACH * limit:.3g} s",
                f"give `method.steps=auto{f' method.draws={fewer}' * (fewer < self.draws)}`",
            )
        # What the remedy below names suffices in spite of rounding.
        found = int(SHARE * limit / (seconds * self.draws) + 1e-6)
        if self.steps == "auto" and found < FEWEST:
            wanted = FEWEST * self.draws * seconds
            fewer_draws = f"`method.draws={fewer}`, " if fewer < self.draws else ""
            fast = "" if self.guidance == "diffpir" else ", or `method.guidance=diffpir`"
            raise UserError.of(
                "`method.draws`",
                f"is `{self.draws}`: in {FEWEST} steps, the fewest, that takes {wanted:.3g} s an "
                f"image, {SHARE:.0%} of what the judge's limit leaves is {SHARE * limit:.3g} s",
                f"give {fewer_draws}a faster denoiser{fast}",
            )
        return min(max(found, FEWEST), MOST)

    def _seconds(self, problem: Problem, images: Images, limit: TimeLimit) -> float:
        """Of a pass of one draw on an image of the limit's size."""

        def prepare(y: Tensor, physics: LinearPhysics) -> Callable[[], Tensor]:
            data = _data_term(y, physics)
            guided = posterior_mean(self.guidance, self._denoise, data, self.weights)
            back, level = data.back, self._levels(data.sigma)[0]
            return lambda: guided(back, level)

        return seconds_a_pass(prepare, problem, images, limit)

    def _denoise(self, x: Tensor, s: Tensor) -> Tensor:
        return denoise(self.denoiser, x, s)

    def _levels(self, sigma: Tensor) -> Tensor:
        """s_1, ..., s_K, shape (K, 1, 1, 1, 1), on the device of `sigma`."""
        low, high = noise_range(self.denoiser) or (0.0, FIRST)
        first = min(high, FIRST) if self.highest == "auto" else self.highest
        last = min(max(low, LAST), first) if self.lowest == "auto" else self.lowest
        _check_ends(last, first)
        ends = sigma.new_tensor([first, last]).reshape(2, 1, 1, 1, 1)
        return levels(ends[0], ends[1], self._count, self.rho)

    def _check_range(self, schedule: Tensor) -> None:
        """Raise `UserError` where levels leave the range that the denoiser was trained for."""
        known = noise_range(self.denoiser)
        if known is None:
            return
        lowest, highest = float(schedule.amin()), float(schedule.amax())
        wrong = "highest" if highest > known[1] else "lowest"
        remedy = f"give `method.{wrong}=auto`, or a denoiser that was trained for these levels"
        check_levels(self.denoiser, lowest, highest, remedy)

    def _check(self, x: Tensor, step: int) -> None:
        """Raise `UserError` where a sample is not finite, or has left the range of images."""
        within = x.abs().amax((1, 2, 3)) <= BIGGEST  # false for what is not a number
        if bool(within.all()):
            return
        value = float(x[int((~within).nonzero()[0])].abs().amax())
        smaller = "a smaller `method.solves`, or " if self.weights.solves > 1 else ""
        remedy = {
            "dps": "give a smaller `method.weight`, or `method.guidance=pigdm`",
            "moment": f"give {smaller}`method.guidance=diffpir`",
            "pigdm": "give a smaller `method.spread`, or `method.guidance=diffpir`",
            "diffpir": "give another `method.denoiser`",
        }[self.guidance]
        knob = {"dps": "weight", "moment": "solves", "pigdm": "spread"}.get(
            self.guidance, "denoiser"
        )
        raise UserError.of(
            f"`method.{knob}`",
            f"a sample has the value {value:.3g} in step {step} of {self._count}, images live in "
            "[0, 1]",
            remedy,
        )


def _counted(draws: int) -> str:
    return f"{draws} draw{'s' * (draws != 1)}"


def _check_ends(lowest: float, highest: float) -> None:
    """Raise `UserError` where noise levels would rise."""
    if lowest > highest:
        raise UserError.of(
            "`method.lowest`",
            f"is `{lowest:g}`, above the highest noise level, `{highest:g}`",
            f"give `method.lowest` at most {highest:g}",
        )


def _data_term(y: Tensor, physics: LinearPhysics) -> DataTerm:
    tolerance = TOLERANCE.get(y.dtype, 1e-6)
    return DataTerm(y, physics, tolerance=tolerance, iterations=ITERATIONS)
