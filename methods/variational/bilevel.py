"""Bilevel learning: the energy of a variational method is learned from pairs.

    min_theta  sum_i 1/2 ||x_hat_i(theta) - x_i||^2        upper level
    x_hat_i(theta) = argmin_x 1/2 ||A x - y_i||^2 + R_theta(x)   lower level

theta is the weight of Huber's regulariser, weight and eps, or a bank of filters with potentials.
Weight and eps take the mean logarithm of the errors, so that every image counts alike, as in PSNR.

The upper level needs the hypergradient, d loss / d theta, through a solution that no formula gives:
by the implicit function theorem (`implicit`: one adjoint solve), by differentiating the solver's
steps (`unrolled`: memory grows with them), or by its last step alone (`jacobian_free`: biased).
The lower level is solved inexactly. Its tolerance follows the upper level: at step n it is

    tolerance (1 + 29 / 2^(n / 250))     for filters, random patches, start: the Wiener estimate
    tolerance max(1, 9 / 3^n)            for weight and eps, fixed images, start: the last solution

so that early steps, whose direction is all that matters, cost little.

Kunisch, Pock, A bilevel optimization approach for parameter learning in variational models, 2013;
Chen, Ranftl, Pock 2014; Pedregosa 2016; Ehrhardt, Roberts 2021; Goujon et al. 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.data.physics.noise_models import extremes
from challenge.methods.contract import Method, Session
from challenge.methods.solvers.implicit import Adjoint, Report
from challenge.methods.solvers.solution import Minimum
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem
from challenge.methods.training.loop import READS, supervised
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.variational import fields_of_experts, huber
from challenge.methods.variational.accuracy import accuracy
from challenge.methods.variational.energy import (
    START_ITERATIONS,
    Energy,
    Hypergradient,
    first_estimate,
    minimise,
    must_have_converged,
)
from challenge.methods.variational.fields_of_experts import Bank, Potential
from challenge.methods.variational.weight_search import search

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

SIGMA = 0.03
"""The noise level at which `strength` is 1."""
POWER = 1.0
"""The first power of sigma that the regulariser's weight follows, as TV's tuned weight does."""
HUBER_START = (0.2 * SIGMA, 0.01)
"""Weight and eps before training."""
WIDTHS = {"convex": (0.01, 0.03), "nonconvex": (0.03, 0.1)}
"""Scales of a filter's potentials before training, in units of the image range."""
PRICE = {"convex": 0.06, "nonconvex": 0.006}
"""Before training, what a potential costs far out, a s or a s^2, times the usual response of its
filter, in units of SIGMA squared: near the best of one factor for all filters."""
LOOSE, HALVING = 29.0, 250.0
"""While training, the lower level's tolerance is 1 + LOOSE / 2^(step / HALVING) times its own."""
LOWER = 2 / 3
"""Share of the lower level in the time of a step at its own tolerance; its iterations grow with
the inverse root of the tolerance, those of the adjoint system hardly (measured)."""
REFUSED = 100.0
"""A lower level whose gradient is above so many times the tolerance ends a training."""


class Bilevel(Method):
    """A variational method whose regulariser is learned through the minimiser.

        min_theta sum_i 1/2 ||x_hat_i - x_i||^2
        x_hat_i = argmin_x 1/2 ||A x - y_i||^2 + R_theta(x)

    `theta: weight` and `weight_eps` are those of Huber's regulariser, found by a quasi-Newton
    search on fixed images. `theta: filters` is a field of experts, sum_k,j a_kj phi(f_k * x; s_kj)
    with filters f, weights a and scales s, under a convex or a non-convex potential, trained on
    random patches. The weight follows sigma^p, with p learned where noise levels differ.

    Kunisch, Pock 2013; Chen, Ranftl, Pock, Insights into analysis operator learning, 2014;
    Goujon, Neumayer, Bohra, Ducotterd, Unser, A neural-network-based convex regularizer for
    inverse problems, 2023.
    """

    reads = READS
    # Where A sees nothing, the Hessian is the regulariser's alone, and its inverse is out of reach.
    operators = ("blur", "identity")

    @classmethod
    def reads_with(cls, knobs: Mapping[str, Any]) -> Sequence[str]:
        """Weight and eps are searched on the tune images, without steps or patches."""
        return cls.reads if knobs["theta"] == "filters" else ("tune",)

    def __init__(
        self,
        *,
        theta: Literal["weight", "weight_eps", "filters"] = "filters",
        channels: Literal[1, 2, 3] = 3,
        potential: Potential = "convex",
        filters: Annotated[int, Ge(1), Le(512)] = 24,
        size: Literal[3, 5, 7, 9] = 5,
        hypergradient: Hypergradient = "implicit",
        tolerance: Annotated[float, Gt(0)] = 2e-5,
        iterations: Annotated[int, Ge(1)] = 200,
        adjoint_tolerance: Annotated[float, Gt(0)] = 1e-2,
        adjoint_iterations: Annotated[int, Ge(1)] = 60,
    ) -> None:
        """Build theta before training; what it is good for is between Wiener and TV.

        Args:
            theta: what is learned.
            channels: 3 for colour, 2 for complex, 1 for grey images (filters); `challenge train`
                takes those of the challenge where the config says none.
            potential: of the filters' responses.
            filters: how many.
            size: side of a filter in pixels.
            hypergradient: how the upper loss is differentiated.
            tolerance: root mean square of the lower level's gradient to stop at.
            iterations: of the lower level, at most.
            adjoint_tolerance: relative residual of the adjoint system (implicit).
            adjoint_iterations: at most (implicit).
        """
        super().__init__()
        self.theta, self.potential = theta, potential
        self.hypergradient = hypergradient
        self.tolerance, self.iterations = tolerance, iterations
        # A non-convex energy may curve downwards at the points that the lower level stops at.
        self.adjoint = Adjoint(
            tolerance=adjoint_tolerance,
            iterations=adjoint_iterations,
            strict=not (theta == "filters" and potential == "nonconvex"),
            remedy="give `method.adjoint_iterations` or `method.adjoint_tolerance` more room, "
            "or make `method.tolerance` smaller",
        )
        self.power = nn.Parameter(torch.tensor(POWER))
        if theta == "filters":  # a weight alone is for any number of channels
            self.channels = channels
            self.filters = nn.Parameter(fields_of_experts.cosine_filters(filters, channels, size))
            widths = torch.tensor(WIDTHS[potential])
            size_of = fields_of_experts.typical_response(fields_of_experts.normalised(self.filters))
            price = PRICE[potential] * SIGMA**2 / size_of[:, None]
            self.log_scales = nn.Parameter(widths.log().repeat(filters, 1))
            height = widths if potential == "convex" else widths.square()
            self.log_weights = nn.Parameter((price / height).log())
        else:
            weight, eps = torch.tensor(HUBER_START).log()
            self.log_weight = nn.Parameter(weight)
            self.log_eps = nn.Parameter(eps, requires_grad=theta == "weight_eps")
        self.wiener = WienerFilter(iterations=START_ITERATIONS)
        self.step = 0
        self.report = Report()
        self.lower: Minimum | None = None

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W).

        In training mode x_hat is differentiable with respect to theta.

        Raises:
            UserError: a measurement with another number of colours than the filters.
            NotConverged: while training, a lower level that is far from its minimum.
        """
        tolerance = self.tolerance
        if self.training and torch.is_grad_enabled():
            tolerance *= _looser(self.step)
        # The iterations add up small differences: they are in float32 whatever surrounds them.
        with torch.autocast(y.device.type, enabled=False):
            found = self.solve(y.float(), physics, tolerance)
        if self.training and torch.is_grad_enabled():
            must_have_converged(
                found,
                tolerance,
                REFUSED,
                "give `method.iterations` more, or `train.lr` less",
            )
        return found.x

    def solve(
        self, y: Tensor, physics: LinearPhysics, tolerance: float, start: Tensor | None = None
    ) -> Minimum:
        """The lower level's minimum, differentiable where grad mode is on.

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            tolerance: root mean square of the gradient.
            start: first x, shape (B, C, H, W); the Wiener estimate by default.
        """
        self.lower = minimise(
            self.energy(y, physics),
            first_estimate(y, physics, self.wiener) if start is None else start,
            tolerance=tolerance,
            iterations=self.iterations,
            hypergradient=self.hypergradient,
            adjoint=self.adjoint,
            report=self.report,
        )
        return self.lower

    def energy(self, y: Tensor, physics: LinearPhysics) -> Energy:
        """The lower level's energy of a batch."""
        strength = (noise_level(y, physics).reshape(-1) / SIGMA) ** self.power.to(y)
        if self.theta != "filters":
            weight = strength * self.log_weight.to(y).exp()
            return huber.energy(y, physics, weight, self.log_eps.to(y).exp())
        check_measurement(self.channels, y)
        learned = self.bank()
        bank = Bank(
            learned.filters.to(y), learned.weights.to(y), learned.scales.to(y), self.potential
        )
        with torch.no_grad():
            size = physics.A_adjoint(y).shape[-2:]
        bound = fields_of_experts.majorant(bank, strength, *size)
        return Energy(y, physics, lambda x: fields_of_experts.regulariser(x, bank, strength), bound)

    def bank(self) -> Bank:
        """The filters with their weights and scales at noise level SIGMA."""
        return Bank(
            fields_of_experts.normalised(self.filters),
            self.log_weights.exp(),
            self.log_scales.exp(),
            self.potential,
        )

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn theta; by a search on the tune images, or on random patches (filters).

        Raises:
            UserError: images with another number of colours than the filters.
        """
        if self.theta == "filters":
            check_problem(self.channels, problem)
        self.wiener.learn(images)
        # At one noise level the power of sigma is not seen: a second weight for the first.
        self.power.requires_grad_(len(extremes(problem.noise)) > 1)
        if self.theta != "filters":
            search(self, problem, images, train, session)
            return
        supervised(self, problem, images, train, session, observe=self.observe)

    def advance(self, step: int, total: int | None) -> None:
        """Let the lower level be solved as exactly as is due at `step` of a training."""
        self.step = step

    def effort(self, step: int, total: int | None) -> float:
        """Of a step whose lower level is solved as exactly as it is at `step`."""
        return (1 - LOWER) + LOWER / math.sqrt(_looser(step))

    def observe(self) -> dict[str, float]:
        """What the last hypergradient was worth, for the log."""
        return accuracy(self.lower, self.report)


def _looser(step: float) -> float:
    """The tolerance of the lower level at a step of a training, in units of its own."""
    return 1 + LOOSE * math.exp2(-step / HALVING)
