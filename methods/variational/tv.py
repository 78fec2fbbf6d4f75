"""Total variation.

    x_hat = argmin_x 1/2 ||A x - y||^2 + weight sum_ij |(grad x)_ij|

Rudin, Osher, Fatemi 1992; over colours Blomgren, Chan 1998.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from deepinv.physics import Denoising
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Session
from challenge.methods.training.tuning import between, tune
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.transforms.structure import is_circular, transfer_function
from challenge.methods.variational.tv_admm import admm
from challenge.methods.variational.tv_gap import gap
from challenge.methods.variational.tv_pdhg import pdhg
from challenge.methods.variational.usual_weight import advice, usual_weight

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

CHECK = 10
"""Iterations between two looks at the gap: one look costs about two iterations."""


class TV(Method):
    """Total variation: few, sharp edges.

        min_x 1/2 ||A x - y||^2 + weight sum_ij |(grad x)_ij|

    Isotropic, forward differences, Neumann boundary; `coupled` takes one norm over all colours.
    Circular blurs and the identity are solved by ADMM with one FFT step (`tv_admm`), all other
    operators by preconditioned primal-dual iterations (`tv_pdhg`). With `weight: null`, `fit`
    tunes it on held-out training images. Iterations stop early where `tolerance` is given and
    the relative primal-dual gap (`tv_gap`) has fallen below it. Rudin, Osher, Fatemi, Nonlinear
    total variation based noise removal algorithms, 1992; Blomgren, Chan, Color TV, 1998.
    """

    reads = ("tune",)

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """Tune images are for a weight that is not given."""
        return cls.reads if knobs["weight"] is None else ()

    def __init__(
        self,
        *,
        weight: Annotated[float, Gt(0)] | Literal["usual"] | None = 0.007,
        iterations: Annotated[int, Ge(1)] = 60,
        tolerance: Annotated[float, Gt(0)] | None = None,
        coupled: bool = True,
    ) -> None:
        """Take the knobs.

        Args:
            weight: of the regulariser, more is smoother; `usual`: 0.2 times the noise level of
                each image, 1.2 times it for denoising; null: tuned on held-out images.
            iterations: at most.
            tolerance: share of the objective that the primal-dual gap may be at the end; null:
                all iterations.
            coupled: one norm over all colours, so that they have their edges in one place.
        """
        super().__init__()
        self.weight = weight
        self.iterations = iterations
        self.tolerance = tolerance
        self.coupled = coupled
        # Filled by fit where the weight is tuned; 0, no noise level, means that it was not.
        self.tuned_levels: Tensor
        self.tuned_log_weights: Tensor
        self.register_buffer("tuned_levels", torch.zeros(2))
        self.register_buffer("tuned_log_weights", torch.zeros(2))

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        Raises:
            UserError: the weight is to be tuned and was not.
        """
        return solve(
            y,
            physics,
            self._weight(y, physics),
            iterations=self.iterations,
            tolerance=self.tolerance,
            coupled=self.coupled,
        )

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Tune the weight, unless it is given: the best mean PSNR on the tune images.

        At one noise level, or at both ends of the range.
        """
        if self.weight is not None:
            return
        found = tune(
            lambda y, physics, weight: solve(
                y, physics, weight, iterations=self.iterations, coupled=self.coupled
            ),
            problem,
            images,
            train,
            session,
            name="weight",
            start=partial(usual_weight, denoising=problem.operator.kind == "identity"),
        )
        if found is not None:
            self.tuned_levels.copy_(found[0])
            self.tuned_log_weights.copy_(found[1])

    def advice(self, problem: Problem, images: Images) -> str | None:
        """Says so where the weight is meant for other noise."""
        if self.weight is None or self.weight == "usual":
            return None
        return advice(self.weight, problem, images, "`method.weight=null` tunes it")

    def _weight(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """The weight of every image, shape (1 | B, 1, 1, 1); log-linear between tuned levels."""
        if self.weight == "usual":
            denoising = isinstance(physics, Denoising)
            return usual_weight(noise_level(y, physics), denoising=denoising)
        if self.weight is not None:
            return y.new_full((1, 1, 1, 1), self.weight)
        if not bool((self.tuned_levels > 0).all()):
            raise UserError.of(
                "`method.weight`",
                "is `null` and was not tuned yet",
                "train first (`challenge train`), or give a weight such as `0.007`",
            )
        level = noise_level(y, physics)
        return between(self.tuned_levels, self.tuned_log_weights, level)


def solve(
    y: Tensor,
    physics: LinearPhysics,
    weight: Tensor,
    *,
    iterations: int,
    coupled: bool,
    tolerance: float | None = None,
) -> Tensor:
    """Minimise the total-variation objective of every image by itself.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator; its parameters have leading size 1 or B.
        weight: > 0, shape (1 | B, 1, 1, 1).
        iterations: at most so many.
        coupled: whether the norm goes over all colours.
        tolerance: an image is finished when its gap is at most this share of its objective.

    Returns:
        Estimates of shape (B, C, H, W).
    """
    transfer: Tensor | None = None
    if is_circular(physics):
        height, width = y.shape[-2:]
        transfer = transfer_function(physics, height, width)
        if transfer is None:  # the identity
            transfer = y.new_ones((1, 1, height, width // 2 + 1))
    steps: Iterator[tuple[Tensor, Callable[[], tuple[Tensor | None, Tensor]]]] = (
        pdhg(y, physics, weight, coupled=coupled)
        if transfer is None
        else admm(y, transfer, weight, coupled=coupled)
    )
    x_hat: Tensor | None = None
    finished = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for count, (x, dual) in enumerate(itertools.islice(steps, iterations), 1):
        if tolerance is None or count % CHECK:
            continue
        distance, primal = gap(x, *dual(), y, physics, weight, coupled=coupled)
        reached = (distance <= tolerance * primal) & ~finished
        # An image keeps the estimate it finished with, whatever its batch still needs.
        x_hat = torch.where(reached[:, None, None, None], x, x if x_hat is None else x_hat)
        finished |= reached
        if bool(finished.all()):
            return x_hat
    return x if x_hat is None else torch.where(finished[:, None, None, None], x_hat, x)
