"""The mean over turned and mirrored copies of a measurement, of any method.

    x_hat = 1/8 sum_T T^-1 F(T y, A_T),   A_T T x = T A x,   T one of the symmetries of the square

F is the method, A_T the operator that is turned with its images (`turned_operator.py`), which is
exact for every family but projections and Fourier samples. x_hat turns with its measurement,
whatever F does, and where F does so already it is F's own estimate. A network that was trained on
turned images does so in part only: what is left averages out. (Timofte, Rothe, Van Gool 2016.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.parts import Wrapped
from challenge.methods.training.allowance import Seconds, allowed, seconds_a_pass
from challenge.methods.transforms.symmetries import SYMMETRIES, averaged, turn
from challenge.methods.transforms.turned_operator import turned

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class Ensemble(Method):
    """The mean of a method over turned and mirrored copies of the measurement.

        x_hat = 1/8 sum_T T^-1 F(T y, A_T),   A_T T x = T A x

    The kernel or the mask is turned with the image. Nothing is learned but how many of the eight
    positions the judge's time suffices for. Timofte, Rothe, Van Gool, Seven ways to improve
    example-based single image super resolution, 2016.
    """

    operators = ("blur", "identity", "inpainting", "downsampling", "compose")

    turns_found: Tensor

    def __init__(self, *, of: Wrapped, seconds: Seconds = "auto") -> None:
        """Take the method.

        Args:
            of: the method that is averaged, a run, an entry or `baseline/unrolled`; its weights
                become part of this method's.
            seconds: that an image may take: 1, 2, 4 or 8 positions, as many as a timed pass allows;
                auto: 40 % of what the judge leaves it, or all eight where nothing says how much.
        """
        super().__init__()
        self.of = of.requires_grad_(False)
        self.seconds = seconds
        self.takes_grey = of.takes_grey
        if hasattr(of, "channels"):
            self.channels = of.channels
        self.register_buffer("turns_found", torch.tensor(SYMMETRIES))

    def train(self, mode: bool = True) -> Ensemble:
        """As of every module, but the method computes as at inference."""
        super().train(mode)
        self.of.eval()
        return self

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: an operator that cannot be turned.
        """

        def in_position(which: int) -> Tensor:
            found: Tensor = self.of(turn(y, which), turned(physics, which))
            return found

        return averaged(in_position, int(self.turns_found))

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn how many positions the time suffices for.

        Raises:
            UserError: not even for two.
        """
        seconds = allowed(self.seconds, session.time_limit)
        if seconds is None:
            return

        def prepare(y: Tensor, physics: LinearPhysics) -> Callable[[], Tensor]:
            return lambda: self.of(y, physics)

        self.eval()
        a_pass = seconds_a_pass(prepare, problem, images, session.time_limit)
        self.turns_found.fill_(turns_within(seconds, a_pass))
        session.log(0, 0, turns=int(self.turns_found), seconds_a_pass=a_pass)


def turns_within(seconds: float, a_pass: float) -> int:
    """How many positions, 8, 4 or 2, take at most so many seconds.

    Args:
        seconds: that an image may take.
        a_pass: seconds of one position.

    Raises:
        UserError: two take longer.
    """
    for turns in (SYMMETRIES, 4, 2):
        if turns * a_pass <= seconds:
            return turns
    raise UserError.of(
        "`method.of`",
        f"takes {a_pass:.3g} s an image, two positions take twice that, and there are "
        f"{seconds:.3g} s",
        "pack it by itself, or make it smaller",
    )
