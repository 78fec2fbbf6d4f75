"""Huber regularisation: total variation made smooth.

    x_hat = argmin_x 1/2 ||A x - y||^2 + weight sum_ij Huber_eps(|(grad x)_ij|)

    Huber_eps(t) = t^2 / (2 eps)  for t <= eps,  else  t - eps / 2

Huber 1964; as a regulariser Charbonnier et al. 1997; towards total variation as eps -> 0, where
the minima differ by at most weight eps / 2 per pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method
from challenge.methods.solvers.implicit import Adjoint, Report
from challenge.methods.solvers.solution import Minimum
from challenge.methods.transforms.differences import laplacian
from challenge.methods.variational.energy import Energy, Hypergradient, first_estimate, minimise
from challenge.methods.variational.usual_weight import advice

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class Huber(Method):
    """Huber regularisation: edges as in total variation, gentle slopes without stairs.

        min_x 1/2 ||A x - y||^2 + weight sum_ij Huber_eps(|(grad x)_ij|)

    Forward differences with a Neumann boundary, one norm over both directions and all colours.
    Solved by preconditioned accelerated gradient descent until the root mean square of the
    energy's gradient over the pixels is at most `tolerance`, and differentiable by the implicit
    function theorem. Huber, Robust estimation of a location parameter, 1964; Charbonnier et al.,
    Deterministic edge-preserving regularization in computed imaging, 1997.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Gt(0)] = 0.007,
        eps: Annotated[float, Gt(0)] = 0.01,
        tolerance: Annotated[float, Gt(0)] = 1e-5,
        iterations: Annotated[int, Ge(1)] = 300,
    ) -> None:
        """Take the knobs.

        Args:
            weight: of the regulariser; more is smoother.
            eps: differences below it are taken for slopes, those above for edges.
            tolerance: root mean square of the gradient to stop at, in units of the image range.
            iterations: at most.
        """
        super().__init__()
        self.weight, self.eps = weight, eps
        self.tolerance, self.iterations = tolerance, iterations

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W)."""
        return solve(
            y,
            physics,
            y.new_tensor([self.weight]),
            y.new_tensor(self.eps),
            tolerance=self.tolerance,
            iterations=self.iterations,
        ).x

    def advice(self, problem: Problem, images: Images) -> str | None:
        """Says so where the weight is meant for other noise."""
        return advice(self.weight, problem, images, "try several with `--sweep method.weight=...`")


def energy(y: Tensor, physics: LinearPhysics, weight: Tensor, eps: Tensor) -> Energy:
    """The energy of a batch.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator; its parameters have leading size 1 or B.
        weight: > 0, shape (1 | B,).
        eps: > 0, shape ().
    """
    with torch.no_grad():
        height, width = physics.A_adjoint(y).shape[-2:]
        bound = laplacian(height, width, y)[None, None]
        bound = (weight.detach() / eps.detach()).reshape(-1, 1, 1, 1) * bound
    return Energy(y, physics, lambda x: regulariser(x, weight, eps), bound)


def regulariser(x: Tensor, weight: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """weight sum Huber_eps(|grad x|) of every image, shape (B,), and its gradient (B, C, H, W)."""
    rows, columns = torch.diff(x, dim=-2), torch.diff(x, dim=-1)
    pad = torch.nn.functional.pad
    square = pad(rows.square(), (0, 0, 0, 1)) + pad(columns.square(), (0, 1))
    square = square.sum(1, keepdim=True)
    # sqrt has no derivative at 0: the larger of both squares keeps away from it.
    slope = torch.maximum(square, eps.square()).rsqrt()
    with torch.no_grad():
        length = square.sqrt()
        value = torch.where(length <= eps, square / (2 * eps), length - eps / 2)
        value = weight * value.flatten(1).sum(1)
    rows, columns = slope[..., :-1, :] * rows, slope[..., :-1] * columns
    gradient = -torch.diff(pad(rows, (0, 0, 1, 1)), dim=-2) - torch.diff(
        pad(columns, (1, 1)), dim=-1
    )
    return value, weight.reshape(-1, 1, 1, 1) * gradient


def solve(
    y: Tensor,
    physics: LinearPhysics,
    weight: Tensor,
    eps: Tensor,
    *,
    tolerance: float,
    iterations: int,
    start: Tensor | None = None,
    hypergradient: Hypergradient = "implicit",
    adjoint: Adjoint | None = None,
    report: Report | None = None,
) -> Minimum:
    """Minimise the Huber energy of every image by itself.

    Where grad mode is on, x is a differentiable function of y, weight, eps and of what the
    operator was made of.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator; its parameters have leading size 1 or B.
        weight: > 0, shape (1 | B,).
        eps: > 0, shape ().
        tolerance: of the root mean square of the gradient.
        iterations: at most.
        start: first x, shape (B, C, H, W); the Wiener estimate by default.
        hypergradient: how x is differentiated.
        adjoint: of the implicit mode, tolerance and iterations.
        report: of the adjoint solve, filled by `backward`.
    """
    return minimise(
        energy(y, physics, weight, eps),
        first_estimate(y, physics) if start is None else start,
        tolerance=tolerance,
        iterations=iterations,
        hypergradient=hypergradient,
        adjoint=adjoint,
        report=report,
    )
