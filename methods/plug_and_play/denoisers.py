"""What every denoiser has in common: a noise level, and the range of levels it was trained for.

    D(x, sigma) = an estimate of x_0 from x = x_0 + sigma n,   n ~ N(0, I)

A denoiser is a method of a challenge whose operator is the identity, so that it is trained, judged
and packed as every method is. Here it is called as a function of an image and a noise level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.physics import GaussianNoise
from challenge.data.physics import families, noise_models
from challenge.data.physics.noise_models import ends
from challenge.methods.contract import Method, Session
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.precision import InferencePrecision

if TYPE_CHECKING:
    from challenge.configs.schema.training import TrainConfig
    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

UNKNOWN = -1.0
"""Both ends of the range before a training."""
SLACK = 1e-3
"""By which a level may lie outside the range, as a share of it: rounding of a schedule."""


@runtime_checkable
class Denoiser(Protocol):
    """A method that can be told a noise level, and be differentiated with respect to it."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma).

        Args:
            x: noisy images, shape (B, C, H, W).
            sigma: noise level in units of the image range, shape (1 | B, 1, 1, 1).

        Returns:
            The estimate, of the shape of `x`.
        """


@runtime_checkable
class HasPotential(Protocol):
    """A denoiser that is a gradient step on some g >= 0: D(x, sigma) = x - grad g(x, sigma)."""

    def potential(self, x: Tensor, sigma: Tensor) -> Tensor:
        """g(x, sigma) of every image, shape (B,); arguments as for `Denoiser.denoise`."""


def denoise(method: Method, x: Tensor, sigma: Tensor | float) -> Tensor:
    """D(x, sigma) of any method that takes the identity as its operator.

    Args:
        method: a `Denoiser`, or one that is told the level by its operator's noise model.
        x: noisy images, shape (B, C, H, W).
        sigma: noise level in units of the image range, a number or of shape (1 | B, 1, 1, 1).
    """
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
    if isinstance(method, Denoiser):
        estimate: Tensor = method.denoise(x, level)
        return estimate
    shape = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
    physics = families.build("identity", [{}], shape, x.device)
    drawn = [{"sigma": each} for each in level.flatten().tolist()]
    found: Tensor = method(x, noise_models.attach(physics, "gaussian", drawn, x))
    return found


class Bounds(NamedTuple):
    """Upper bounds on Lipschitz constants with respect to x, in the Euclidean norm.

    They hold at every noise level and image size, in exact arithmetic; float32 rounds.
    """

    residual: float
    """Of I - D."""
    denoiser: float
    """Of D, which is at most 1 more."""
    reflected: float | None = None
    """Of 2 D - I; 1 where D is firmly non-expansive, None where nothing more is known."""


@runtime_checkable
class Certified(Protocol):
    """A denoiser whose architecture bounds its Lipschitz constants."""

    def certificate(self) -> Bounds | None:
        """The bounds, computed from the weights as they are; None where the knobs allow none."""


def certified(method: nn.Module) -> Bounds | None:
    """Upper bounds on the Lipschitz constants of a denoiser; None where nothing certifies any."""
    return method.certificate() if isinstance(method, Certified) else None


class NoiseRange(nn.Module):
    """The noise levels that a denoiser was trained for; they travel with its weights."""

    ends: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ends", torch.full((2,), UNKNOWN))

    def learn(self, problem: Problem) -> None:
        """Take the range of a problem's Gaussian noise; of other noise, no range is known."""
        found = (UNKNOWN, UNKNOWN)
        if isinstance(problem.noise, GaussianNoise):
            found = ends(problem.noise.sigma)
        self.ends.copy_(torch.tensor(found))

    @property
    def known(self) -> tuple[float, float] | None:
        """The lowest and the highest level; None where the denoiser takes any."""
        low, high = self.ends.tolist()
        return None if high < 0 else (low, high)


class Learned(Protocol):
    """A denoiser whose one network is all that it learns."""

    channels: int
    net: nn.Module
    levels: NoiseRange
    compute: InferencePrecision


def run_network(denoiser: Learned, x: Tensor, sigma: Tensor | None) -> Tensor:
    """N([x, sigma]), in the precision of the denoiser, or N(x) where sigma is None.

    Args:
        denoiser: whose network N is run.
        x: noisy images, shape (B, C, H, W).
        sigma: noise level, shape (1 | B, 1, 1, 1); the last channel that the network sees.

    Raises:
        UserError: the images have not the denoiser's channels.
    """
    check_measurement(denoiser.channels, x)
    if sigma is not None:
        x = torch.cat([x, sigma.expand(len(x), 1, *x.shape[-2:])], dim=1)
    found: Tensor = denoiser.compute(denoiser.net, x)
    return found


def fit_denoiser(
    method: Learned,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    build: Callable[[], nn.Module],
) -> None:
    """Train the network of a denoiser from its seeded start, for the noise levels of the problem.

    Args:
        method: the denoiser.
        problem: as in `fit`.
        images: as in `fit`.
        train: as in `fit`.
        session: as in `fit`.
        build: makes a new network.
    """
    assert isinstance(method, Method)
    check_problem(method.channels, problem)
    method.levels.learn(problem)
    fit_network(
        method,
        problem,
        images,
        train,
        session,
        net=method.net,
        build=build,
        precision=method.compute,
    )


def noise_range(method: nn.Module) -> tuple[float, float] | None:
    """The noise levels that a denoiser was trained for; None where it takes any, or is not known.

    Args:
        method: holds a `NoiseRange` as its attribute `levels`, or has none.
    """
    levels = getattr(method, "levels", None)
    return levels.known if isinstance(levels, NoiseRange) else None


def check_colours(denoiser: Method, problem: Problem) -> None:
    """Raise `UserError` where a denoiser is for another number of channels than a problem has."""
    channels = getattr(denoiser, "channels", problem.channels)
    if channels != problem.channels:
        raise UserError.of(
            "`method.denoiser`",
            f"has `channels: {channels}`, the images of `{problem.name}` have `{problem.channels}`",
            f"give one that was trained with `method.channels={problem.channels}`",
        )


def check_levels(method: Method, lowest: float, highest: float, remedy: str) -> None:
    """Raise `UserError` where noise levels leave the range that a denoiser was trained for.

    Args:
        method: the denoiser.
        lowest: of the levels at which it is called, in units of the image range.
        highest: of them.
        remedy: what to do, in words.
    """
    known = noise_range(method)
    if known is None:
        return
    low, high = known
    lower, upper = (1 - SLACK) * low, (1 + SLACK) * high
    if lower <= lowest and highest <= upper:
        return
    outside = lowest if lowest < lower else highest
    raise UserError.of(
        "the denoiser",
        f"was trained for noise levels from {255 * low:.3g}/255 to {255 * high:.3g}/255, and is "
        f"asked for {255 * outside:.3g}/255",
        remedy,
    )
