"""The lower level of bilevel learning: a variational problem whose solution can be differentiated.

    x(theta) = argmin_x E(x),   E(x) = 1/2 ||A x - y||^2 + R_theta(x)

R is smooth and comes with a circulant majorant of its Hessian, S(f) at every frequency f (a number,
or a matrix over the colours). With the transfer function h of a blur,

    hess E <= F^-1 (|h|^2 + S + floor) F =: P^-1

exactly for circular and valid blurs and what is left of them by downsampling, nearly for reflected
ones; without a blur h = 1, which is right where A has no norm above 1. P is the preconditioner of
accelerated gradient descent, whose Lipschitz constant is then 1, and of the adjoint system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.descent import descend
from challenge.methods.solvers.implicit import Adjoint, Mode, Report, stationary
from challenge.methods.solvers.solution import Minimum, NotConverged
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.transforms.structure import transfer_function

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

Hypergradient = Literal["implicit", "unrolled", "jacobian_free"]

FLOOR = 1e-5
"""Added to the majorant: what neither A nor R sees still has a step of finite length."""
START_ITERATIONS = 8
"""Conjugate gradient steps of the Wiener estimate to start from, where it is not closed-form."""


@dataclass(frozen=True)
class Energy:
    """E(x) = 1/2 ||A x - y||^2 + R(x) of every image of a batch."""

    y: Tensor
    """Measurements, shape (B, C, H', W')."""
    physics: LinearPhysics
    regulariser: Callable[[Tensor], tuple[Tensor, Tensor]]
    """x (B, C, H, W) -> R of every image (B,), its gradient (B, C, H, W)."""
    majorant: Tensor
    """S on the grid of `rfft2`: (1 | B, 1, H, W // 2 + 1), or a Hermitian matrix over the colours,
    (1 | B, C, C, H, W // 2 + 1)."""

    def objective(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """E of every image, shape (B,), and its gradient, shape (B, C, H, W)."""
        error = self.physics.A(x) - self.y
        value, gradient = self.regulariser(x)
        return (
            error.square().flatten(1).sum(1) / 2 + value,
            self.physics.A_adjoint(error) + gradient,
        )

    def gradient(self, x: Tensor) -> Tensor:
        """grad E, shape (B, C, H, W)."""
        return self.objective(x)[1]

    @torch.no_grad()
    def preconditioner(self) -> Callable[[Tensor], Tensor]:
        """P, a function of images of shape (B, C, H, W)."""
        height, width = size = self.physics.A_adjoint(self.y).shape[-2:]
        transfer = transfer_function(self.physics, height, width)
        gain = self.y.new_ones(1, 1, height, width // 2 + 1)
        if transfer is not None:
            gain = transfer.abs().square().to(gain)
        if self.majorant.dim() == 4:
            inverse = 1 / (gain + self.majorant.detach() + FLOOR)
            return lambda v: torch.fft.irfft2(torch.fft.rfft2(v) * inverse, s=size)
        matrix = self.majorant.detach().permute(0, 3, 4, 1, 2)
        colours = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        gain = gain.permute(0, 2, 3, 1)[..., None]
        inverse = torch.linalg.inv(matrix + (gain + FLOOR) * colours).permute(0, 3, 4, 1, 2)
        inverse = inverse.contiguous()
        return lambda v: torch.fft.irfft2((inverse * torch.fft.rfft2(v)[:, None]).sum(2), s=size)


@torch.no_grad()
def first_estimate(y: Tensor, physics: LinearPhysics, wiener: WienerFilter | None = None) -> Tensor:
    """Where to start: the Wiener estimate, shape (B, C, H, W).

    Args:
        y: measurements, shape (B, C, H', W').
        physics: the operator.
        wiener: the filter; that of a typical power spectrum by default.
    """
    start = wiener or WienerFilter(iterations=START_ITERATIONS).to(y)
    estimate: Tensor = start(DataTerm(y, physics))[0]
    return estimate


def minimise(
    energy: Energy,
    start: Tensor,
    *,
    tolerance: float,
    iterations: int,
    hypergradient: Hypergradient = "implicit",
    adjoint: Adjoint | None = None,
    report: Report | None = None,
) -> Minimum:
    """Minimise E; where grad mode is on, x is attached to the graph of all that E was made of.

    Args:
        energy: of a batch.
        start: first x, shape (B, C, H, W); not differentiated.
        tolerance: of the root mean square of the gradient.
        iterations: at most.
        hypergradient: how x is differentiated.
        adjoint: of the implicit mode, tolerance and iterations.
        report: of the adjoint solve, filled by `backward`.
    """
    start, precondition = start.detach(), energy.preconditioner()
    if not torch.is_grad_enabled() or hypergradient != "unrolled":
        with torch.no_grad():
            found = descend(
                energy.objective,
                start,
                tolerance=tolerance,
                iterations=iterations,
                precondition=precondition,
            )
        if not torch.is_grad_enabled():
            return found
    else:
        return descend(
            energy.objective,
            start,
            tolerance=tolerance,
            iterations=iterations,
            precondition=precondition,
        )
    mode: Mode = "implicit"
    last_step = precondition
    if hypergradient == "jacobian_free":
        mode, level = "jacobian_free", found.lipschitz[:, None, None, None]

        def last_step(v: Tensor) -> Tensor:
            return precondition(v) / level

    how = adjoint or Adjoint()
    how = Adjoint(mode, how.tolerance, how.iterations, how.strict, how.remedy)
    x = stationary(energy.gradient, found.x, how, precondition=last_step, report=report)
    return found._replace(x=x)


def must_have_converged(found: Minimum, tolerance: float, times: float, remedy: str) -> None:
    """Raise `NotConverged` where a gradient is above `times` the tolerance, or not finite."""
    residual = found.residual.nan_to_num(torch.inf)
    worst = int(residual.argmax())
    value = float(residual[worst])
    if value <= times * tolerance:
        return
    raise NotConverged.of(
        "lower level",
        f"the root mean square of the gradient is `{value:.3g}` after {found.iterations} "
        f"iterations, asked was `{tolerance:.3g}` (image {worst} of {len(residual)})",
        remedy,
    )
