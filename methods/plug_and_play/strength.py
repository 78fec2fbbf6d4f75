"""How much a denoiser counts as a regulariser beside the data, and its noise levels.

    lambda = strength sigma^2 / s^2

sigma is the noise of the measurement, s the level of the denoiser. Tweedie's formula,
(x - D(x, s)) / s^2 = -grad log p_s(x), makes strength 1 the weight of Bayes' rule for
f(x) = 1/2 ||A x - y||^2; denoisers that smooth too much for it want less. The levels fall,

    s_k = first^(1 - t) last^t,   t = min(1, (k - 1) / (K share)),   k = 1, ..., K

from one at which coarse structure is found to the last one, at which the iteration goes on: only
the last one decides where it ends, if it does, the others where it begins (Zhang et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.plug_and_play.denoisers import check_colours, check_levels
from challenge.methods.training.noise_ends import noise_ends
from challenge.methods.training.tuned_numbers import TunedNumbers
from challenge.methods.training.tuning import tune

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

Level = Annotated[float, Gt(0), Le(1)]
"""A noise level in units of the image range."""
FIRST = 0.19
"""The level from which levels fall, about that of DPIR, 49/255."""
ITERATIONS = 100
"""Conjugate gradient steps of a data step, at most, where there is no closed form."""
FAR = 1e6
"""What a denoiser hands on is a number, and no farther from 0 than this: else the solver of the
data step would refuse it before the safeguard has seen where the estimate goes."""


class Strength(nn.Module):
    """A strength that is given, or tuned and then travels with the weights."""

    def __init__(self, given: float | None) -> None:
        """Take the knob's value; None: it is to be tuned."""
        super().__init__()
        self.given = given
        self.tuned = TunedNumbers(["strength"] if given is None else [])

    def forward(self, sigma: Tensor) -> Tensor:
        """The strength at noise levels of measurements, as `sigma` is shaped.

        Raises:
            UserError: it is to be tuned and was not.
        """
        if self.given is None:
            return self.tuned.value("strength", sigma)
        return torch.full_like(sigma, self.given)

    def tune(
        self,
        reconstruct: Callable[[Tensor, LinearPhysics, Tensor], Tensor],
        problem: Problem,
        images: Images,
        train: TrainConfig,
        session: Session,
        *,
        usual: float,
    ) -> None:
        """Search the best mean PSNR on the tune images, unless the strength is given.

        Args:
            reconstruct: x_hat of measurements, with a strength of shape (1, 1, 1, 1).
            problem: the forward problem.
            images: training images.
            train: how many of them are held out.
            session: log of every value tried, and whether to stop.
            usual: where the search begins.
        """
        if self.given is not None:
            return
        found = tune(
            lambda y, physics, value: reconstruct(y, physics, value).nan_to_num(0.0),
            problem,
            images,
            train,
            session,
            name="strength",
            start=lambda level: usual,
        )
        if found is not None:
            self.tuned.store(found[0], found[1][:, None])


def last_level(sigma: Tensor, level: float | Literal["auto"], times: float) -> Tensor:
    """s: a level that is given, or `times` that of the measurement; as `sigma` is shaped."""
    return (times * sigma).clamp(max=1.0) if level == "auto" else torch.full_like(sigma, level)


def falling_levels(first: float, last: Tensor, count: int, share: float) -> Tensor:
    """s_1, ..., s_K, shape (K, 1 | B, 1, 1, 1).

    Args:
        first: the first one; where the last one is higher, all are that.
        last: the last one, shape (1 | B, 1, 1, 1).
        count: K.
        share: of the K iterations in which they fall; 0: all are the last one.
    """
    place = torch.arange(count, dtype=last.dtype, device=last.device)
    t = (place / (count * share)).clamp(max=1) if share else torch.ones_like(place)
    t = t.reshape(-1, 1, 1, 1, 1)
    return torch.exp((1 - t) * last.clamp(min=first).log() + t * last.log())


def check_read(knob: str, *, changed: bool, read: bool, why: str) -> None:
    """Raise `UserError` for a knob that is given and that nothing reads beside the other ones.

    Args:
        knob: its name.
        changed: whether it has another value than its default.
        read: whether the other knobs let it count.
        why: it is not read, in words.
    """
    if changed and not read:
        raise UserError.of(f"`method.{knob}`", f"is not read {why}", "leave it out")


def bounded(x: Tensor) -> Tensor:
    """Values that a denoiser made, within `FAR`."""
    return x.nan_to_num(FAR).clamp(-FAR, FAR)


def check_denoiser(
    denoiser: Method, problem: Problem, images: Images, levels: Callable[[Tensor], Tensor]
) -> None:
    """Raise `UserError` where a denoiser is for other images or noise levels than a problem asks.

    Args:
        denoiser: of the method.
        problem: the forward problem.
        images: training images.
        levels: those at which the denoiser is called, of the measurement's (N, 1, 1, 1).
    """
    check_colours(denoiser, problem)
    check_falling(denoiser, levels(torch.tensor(noise_ends(problem, images)).reshape(-1, 1, 1, 1)))


def check_falling(denoiser: Method, levels: Tensor) -> None:
    """Raise `UserError` where levels leave the range that a denoiser was trained for."""
    check_levels(
        denoiser,
        float(levels.min()),
        float(levels.max()),
        "give `method.level` and `method.first` inside, or a denoiser that was trained for them",
    )
