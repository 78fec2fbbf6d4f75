"""The data term of one batch: its gradient and its proximal map, by FFT where that is exact.

    f(x) = 1/2 ||A x - y||^2
    grad f(x) = A^T (A x - y)
    prox(v) = argmin_x f(x) + 1/2 <x - v, R (x - v)> = (A^T A + R)^-1 (A^T y + R v)

R is diagonal in the Fourier domain: a constant, or a function of frequency. Where A is a circular
blur with transfer function h, both are divisions,

    prox(v) = F^-1 [ (conj(h) F y + R F v) / (|h|^2 + R) ].

Downsampled by s, A^T A couples the s^2 frequencies that alias to one, g ~ f, by a matrix of rank
one; with b = F (A^T y + R v), by Sherman, Morrison 1950,

    F prox(v)(f) = (b - conj(h) t)(f) / R(f),   t(f) = sum_g h b / R / (s^2 + sum_g |h|^2 / R)

(a constant R: Zhao, Wei, Basarab, Dobigeon, Kouame, Tourneret 2016). Inpainting with a constant R
is a division in every pixel; magnetic resonance, A = m F of complex images, one at every frequency,

    prox(v) = v + F^-1 [ m F (A^T y - v) / (m + R) ],

where v stays what it is at frequencies that were not measured, however small R is. All else is
solved by conjugate gradients, preconditioned by a convolution like A^T A + R, and differentiated by
the implicit function theorem. Of a blur that is cut to the pixels that it sees from all sides
(`valid`), which hardly sees the border, they solve for the difference,

    prox(v) = v + (A^T A + R)^-1 A^T (y - A v),

so that few iterations leave there what v is, and not something near 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from deepinv.physics import Inpainting
from torch import Tensor
from torch.nn.functional import pad

from challenge.methods.solvers.conjugate_gradient import conjugate_gradient
from challenge.methods.solvers.descent import every_frequency, power_method
from challenge.methods.solvers.implicit import Adjoint, stationary
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.transforms.structure import (
    decimation,
    is_blur,
    is_circular,
    likeness,
    mask_of,
    sampling,
    transfer_function,
)

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

SMALLEST = 1e-9
"""Of R, where A alone does not decide: the mean of an image has R = 0 in some regularisers."""


class DataTerm:
    """f(x) = 1/2 ||A x - y||^2 of a batch of measurements (B, C, H', W')."""

    def __init__(
        self,
        y: Tensor,
        physics: LinearPhysics,
        level: Tensor | None = None,
        *,
        tolerance: float = 1e-6,
        iterations: int = 20,
    ) -> None:
        """Take a batch.

        Args:
            y: measurements, shape (B, C, H', W').
            physics: the operator.
            level: the noise level, shape (1 | B, 1, 1, 1), where y is not what was measured, but
                has its colours in another basis; by default that of `y`.
            tolerance: relative residual of conjugate gradients, where there is no closed form and
                none is given with the call.
            iterations: at most so many of them, likewise.
        """
        self.y, self.physics, self.level = y, physics, level
        self.tolerance, self.iterations = tolerance, iterations
        self.back: Tensor = physics.A_adjoint(y)
        height, width = self.size = self.back.shape[-2:]
        transfer = transfer_function(physics, height, width)
        self.circular = is_circular(physics)
        self.factor = decimation(physics)
        self.sampled = sampling(physics)
        self.mask = mask_of(physics) if isinstance(physics, Inpainting) else None
        self.cut = is_blur(physics) and self.size != tuple(y.shape[-2:])
        # Without a blur, the transfer function is that of the identity.
        one = y.new_ones((1, 1, height, width // 2 + 1))
        self.transfer = one if transfer is None else transfer
        self.gain = one if transfer is None else transfer.abs().square()
        # Without |h|^2: what a border or a mask adds to a circulant is small beside 1, and large
        # beside |h|^2 + R where both are small.
        self.likeness = one * likeness(physics, height, width)
        self.spectrum = self._spectrum(self.back)

    @cached_property
    def sigma(self) -> Tensor:
        """The noise level, shape (1 | B, 1, 1, 1); see `noise_level`."""
        return noise_level(self.y, self.physics) if self.level is None else self.level

    @cached_property
    def continued(self) -> Tensor | None:
        """A^T y of a blur that is cut, y continued by its edge before; None of all else."""
        if not self.cut:
            return None
        rows, columns = (
            whole - seen for whole, seen in zip(self.size, self.y.shape[-2:], strict=True)
        )
        back: Tensor = self.physics.A_adjoint(
            pad(self.y, (columns, columns, rows, rows), mode="replicate")
        )
        # Every pixel that is left is seen from all sides.
        return back[..., rows:-rows, columns:-columns]

    @cached_property
    def curvature(self) -> Tensor:
        """||A||^2, the largest eigenvalue of A^T A, of every image, shape (1 | B, 1, 1, 1).

        By the power method where the Fourier transform does not diagonalise A: from below, with
        5 % added for safety.
        """
        if self.circular:
            return self.gain.amax((1, 2, 3), keepdim=True)
        with torch.no_grad():
            # From a constant image the estimate turns with the operator, and it is that of every
            # operator without negative numbers (Perron, Frobenius).
            starts = torch.ones_like(self.back), every_frequency(self.back)
            found = torch.stack([power_method(self._normal, start) for start in starts]).amax(0)
        return 1.05 * found.reshape(-1, 1, 1, 1)

    def gradient(self, x: Tensor) -> Tensor:
        """A^T (A x - y), shape (B, C, H, W)."""
        if self.circular:
            return self._filtered(torch.fft.rfft2(x) * self.gain - self.spectrum)
        return self._normal(x) - self.back

    def _normal(self, x: Tensor) -> Tensor:
        found: Tensor = self.physics.A_adjoint(self.physics.A(x))
        return found

    def prox(
        self,
        v: Tensor,
        weight: Tensor,
        *,
        tolerance: float | None = None,
        iterations: int | None = None,
    ) -> Tensor:
        """(A^T A + R)^-1 (A^T y + R v), shape (B, C, H, W).

        Args:
            v: shape (B, C, H, W).
            weight: R > 0 on the grid of `rfft2`, broadcastable to (B, C, H, W // 2 + 1).
            tolerance: relative residual of conjugate gradients, where there is no closed form; by
                default that of the data term.
            iterations: at most so many of them, likewise.
        """
        if self.sampled is not None and _is_one_field(weight):
            return v + _divided(self.back - v, self.sampled, weight, self.sampled)
        if self.cut:
            right = self._spectrum(self.back - self._normal(v))
            return v + self._solve(right, weight, tolerance, iterations)
        return self._solve(
            self.spectrum + weight * self._spectrum(v), weight, tolerance, iterations
        )

    def regularised(
        self, weight: Tensor, *, tolerance: float | None = None, iterations: int | None = None
    ) -> Tensor:
        """(A^T A + R)^-1 A^T y, shape (B, C, H, W); arguments as for `prox`."""
        if self.sampled is not None and _is_one_field(weight):
            return _divided(self.back, self.sampled, weight, self.sampled)
        return self._solve(self.spectrum, weight, tolerance, iterations)

    def inverse(
        self,
        right: Tensor,
        weight: Tensor,
        *,
        tolerance: float | None = None,
        iterations: int | None = None,
    ) -> Tensor:
        """(A^T A + R)^-1 right, shape (B, C, H, W); arguments as for `prox`."""
        if self.sampled is not None and _is_one_field(weight):
            return _divided(right, self.sampled, weight, torch.ones_like(self.sampled))
        return self._solve(self._spectrum(right), weight, tolerance, iterations)

    def _solve(
        self, right: Tensor, weight: Tensor, tolerance: float | None, iterations: int | None
    ) -> Tensor:
        """The solution for a right side given by its spectrum."""
        tolerance = self.tolerance if tolerance is None else tolerance
        iterations = self.iterations if iterations is None else iterations
        if self.factor is not None:
            return self._filtered(self._unaliased(right, weight, self.factor)).to(self.y.dtype)
        if self.circular:
            return self._filtered(right * (1 / (self.gain + weight)))
        target = self._filtered(right)
        if self.mask is not None and weight.shape[-2:] == (1, 1):
            return target / (self.mask + weight)
        inverse = 1 / (self.likeness + weight)

        def residual(x: Tensor, right: Tensor = target) -> Tensor:
            return self._normal(x) + self._filtered(torch.fft.rfft2(x) * weight) - right

        @torch.no_grad()
        def precondition(r: Tensor) -> Tensor:
            return self._filtered(torch.fft.rfft2(r) * inverse)

        @torch.no_grad()
        def solved(right: Tensor) -> Tensor:
            return conjugate_gradient(
                lambda x: residual(x, right) + right,
                right,
                start=precondition(right),
                precondition=precondition,
                tolerance=tolerance,
                iterations=iterations,
            ).x

        # Differentiated as the solution that it is: memory does not grow with the iterations.
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return _symmetric(target, solved)
        x = solved(target)
        adjoint = Adjoint(tolerance=tolerance, iterations=iterations, strict=False)
        return stationary(residual, x, adjoint, precondition=precondition)

    def _unaliased(self, right: Tensor, weight: Tensor, factor: int) -> Tensor:
        """The spectrum of the solution for a blur that is downsampled, on the grid of `rfft2`."""
        height, width = self.size
        h, b = _whole(self.transfer, width).to(torch.complex128), _whole(right, width)
        r = _whole(weight.expand(*weight.shape[:-2], *right.shape[-2:]), width).double()
        r = r.clamp_min(SMALLEST)

        def over_aliases(values: Tensor) -> Tensor:
            batch, channels = values.shape[:2]
            blocks = values.reshape(
                batch, channels, factor, height // factor, factor, width // factor
            )
            return blocks.sum((2, 4)).repeat(1, 1, factor, factor)

        seen = over_aliases(h.abs().square() / r)
        t = over_aliases(h * b / r) / (factor**2 + seen)
        found = (b - h.conj() * t) / r
        return found[..., : width // 2 + 1]

    def _spectrum(self, x: Tensor) -> Tensor:
        """F x. In double precision for `_unaliased`, whose b - conj(h) t is a difference of nearly
        equals where R is small."""
        found: Tensor = torch.fft.rfft2(x if self.factor is None else x.double())
        return found

    def _filtered(self, spectrum: Tensor) -> Tensor:
        found: Tensor = torch.fft.irfft2(spectrum, s=self.size)
        return found


class _Symmetric(torch.autograd.Function):
    """A symmetric linear map, which is the transpose of its derivatives of any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.f = f
        return f(x)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        return _symmetric(v, ctx.f), None


def _symmetric(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    found: Tensor = _Symmetric.apply(x, f)
    return found


def _is_one_field(weight: Tensor) -> bool:
    """Whether R is the same for all channels."""
    return weight.dim() < 3 or weight.shape[-3] == 1


def _divided(x: Tensor, mask: Tensor, weight: Tensor, gain: Tensor) -> Tensor:
    """F^-1 [gain F x / (mask + R)] of complex images, as two channels (B, 2, H, W)."""
    width = x.shape[-1]
    if weight.shape[-2:] != (1, 1):
        weight = _whole(weight, width)
    spectrum = torch.fft.fft2(torch.complex(x[:, :1], x[:, 1:]))
    found = torch.fft.ifft2(spectrum * (gain / (mask + weight).clamp_min(SMALLEST)))
    return torch.cat([found.real, found.imag], dim=1)


def _whole(half: Tensor, width: int) -> Tensor:
    """All frequencies of a real field's spectrum, (..., H, W), from those of `rfft2`."""
    other = half[..., 1 : (width + 1) // 2]
    # The frequency -f of row 0 is in row 0, that of row i in row H - i.
    mirrored = torch.roll(other.flip(-2, -1), 1, -2)
    return torch.cat([half, mirrored.conj() if half.is_complex() else mirrored], -1)
