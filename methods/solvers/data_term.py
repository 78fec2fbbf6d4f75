"""The data term of one batch: its gradient and its proximal map, by FFT where that is exact.

    f(x) = 1/2 ||A x - y||^2
    grad f(x) = A^T (A x - y)
    prox(v) = argmin_x f(x) + 1/2 <x - v, R (x - v)> = (A^T A + R)^-1 (A^T y + R v)

R is diagonal in the Fourier domain: a constant, or a function of frequency. Where A is a circular
blur with transfer function h, both are divisions,

    prox(v) = F^-1 [ (conj(h) F y + R F v) / (|h|^2 + R) ],

otherwise the system is solved by conjugate gradients, preconditioned by the circular solution, and
differentiated by the implicit function theorem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from challenge.methods.solvers.conjugate_gradient import conjugate_gradient
from challenge.methods.solvers.implicit import Adjoint, stationary
from challenge.methods.transforms.blur import is_circular, transfer_function

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class DataTerm:
    """f(x) = 1/2 ||A x - y||^2 of a batch of measurements (B, C, H', W')."""

    def __init__(self, y: Tensor, physics: LinearPhysics) -> None:
        self.y, self.physics = y, physics
        self.back: Tensor = physics.A_adjoint(y)
        height, width = self.size = self.back.shape[-2:]
        transfer = transfer_function(physics, height, width)
        self.circular = is_circular(physics)
        # An operator that is no blur has no transfer function: the identity preconditions.
        one = y.new_ones((1, 1, height, width // 2 + 1))
        self.gain = one if transfer is None else transfer.abs().square()
        self.spectrum = torch.fft.rfft2(self.back)

    @property
    def sigma(self) -> Tensor:
        """The noise level, shape (1 | B, 1, 1, 1)."""
        level: Tensor = self.physics.noise_model.sigma
        return level.to(self.y.dtype).reshape(-1, 1, 1, 1)

    def gradient(self, x: Tensor) -> Tensor:
        """A^T (A x - y), shape (B, C, H, W)."""
        if self.circular:
            return self._filtered(torch.fft.rfft2(x) * self.gain - self.spectrum)
        found: Tensor = self.physics.A_adjoint(self.physics.A(x)) - self.back
        return found

    def prox(
        self, v: Tensor, weight: Tensor, *, tolerance: float = 1e-6, iterations: int = 20
    ) -> Tensor:
        """(A^T A + R)^-1 (A^T y + R v), shape (B, C, H, W).

        Args:
            v: shape (B, C, H, W).
            weight: R > 0 on the grid of `rfft2`, broadcastable to (B, C, H, W // 2 + 1).
            tolerance: relative residual of conjugate gradients, where the boundary is not circular.
            iterations: at most so many of them.
        """
        return self._solve(
            self.spectrum + weight * torch.fft.rfft2(v), weight, tolerance, iterations
        )

    def regularised(
        self, weight: Tensor, *, tolerance: float = 1e-6, iterations: int = 20
    ) -> Tensor:
        """(A^T A + R)^-1 A^T y, shape (B, C, H, W); arguments as for `prox`."""
        return self._solve(self.spectrum, weight, tolerance, iterations)

    def inverse(
        self, right: Tensor, weight: Tensor, *, tolerance: float = 1e-6, iterations: int = 20
    ) -> Tensor:
        """(A^T A + R)^-1 right, shape (B, C, H, W); arguments as for `prox`."""
        return self._solve(torch.fft.rfft2(right), weight, tolerance, iterations)

    def _solve(self, right: Tensor, weight: Tensor, tolerance: float, iterations: int) -> Tensor:
        """The solution for a right side given by its spectrum."""
        inverse = 1 / (self.gain + weight)
        if self.circular:
            return self._filtered(right * inverse)
        target = self._filtered(right)

        def residual(x: Tensor) -> Tensor:
            back: Tensor = self.physics.A_adjoint(self.physics.A(x))
            return back + self._filtered(torch.fft.rfft2(x) * weight) - target

        @torch.no_grad()
        def precondition(r: Tensor) -> Tensor:
            return self._filtered(torch.fft.rfft2(r) * inverse)

        with torch.no_grad():
            x = conjugate_gradient(
                lambda x: residual(x) + target,
                target,
                start=precondition(target),
                precondition=precondition,
                tolerance=tolerance,
                iterations=iterations,
            ).x
        if not torch.is_grad_enabled():
            return x
        # Differentiated as the solution that it is: memory does not grow with the iterations.
        adjoint = Adjoint(tolerance=tolerance, iterations=iterations, strict=False)
        return stationary(residual, x, adjoint, precondition=precondition)

    def _filtered(self, spectrum: Tensor) -> Tensor:
        found: Tensor = torch.fft.irfft2(spectrum, s=self.size)
        return found
