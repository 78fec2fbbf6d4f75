"""Preconditioned primal-dual iterations for total variation with any linear operator.

    min_x max_{q, |p| <= weight}  <q, A x - y> - 1/2 ||q||^2 + <p, D x>

    x~ <- x - T (A^T q + D^T p)
    q~ <- (q + beta (A (2 x~ - x) - y)) / (1 + beta)
    p~ <- project(p + rho D (2 x~ - x), weight)
    (x, q, p) <- (1 - alpha) (x, q, p) + alpha (x~, q~, p~)

Only A and A^T are needed. It converges where T^-1 - beta A^T A - rho D^T D is positive
semi-definite (Pock, Chambolle 2011; relaxation: Condat 2013); T is a division in the Fourier
domain, T^-1 = beta M + rho |D|^2 with a circulant M >= A^T A (see `metric`). With a step length in
its place, T = tau, the borders that a valid blur hardly sees fill in at a crawl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from deepinv.physics import Blur
from torch import Tensor

from challenge.data.physics.parallel_beam import ParallelBeam
from challenge.methods.solvers.descent import every_frequency, power_method
from challenge.methods.transforms.differences import adjoint, differences, laplacian, project
from challenge.methods.transforms.structure import norm_squared, transfer_function

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

THRESHOLD = 0.08
"""weight / rho, as for ADMM."""
BETA = 0.025
"""Step of the data's dual variable, chosen by measurement over kernels, noise and weights, for
operators of norm 1: scaled by c, an operator asks for one of BETA / c^2."""
PROJECTIONS = 2.0
"""Times that step for projections, most of whose eigenvalues are far below ||A||^2; measured."""
RELAXATION = 1.8


def pdhg(
    y: Tensor,
    physics: LinearPhysics,
    weight: Tensor,
    *,
    coupled: bool,
) -> Iterator[tuple[Tensor, Callable[[], tuple[Tensor, Tensor]]]]:
    """Iterate for ever; the caller takes as many steps as it wants.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: a linear operator; images have the shape of `A_adjoint(y)`, (B, C, H, W).
        weight: of total variation, > 0, shape (1 | B, 1, 1, 1).
        coupled: whether the norm goes over all colours.

    Yields:
        x, and a function that gives the dual point (q, p) of this step; see `admm`.
    """
    x = _start(y, physics)
    height, width = size = x.shape[-2:]
    rho, beta = weight / THRESHOLD, BETA / norm_squared(physics, x)
    if isinstance(physics, ParallelBeam):
        beta = PROJECTIONS * beta
    inverse = 1 / (beta * metric(physics, x) + rho * laplacian(height, width, x))
    q, p = torch.zeros_like(y), x.new_zeros((2, *x.shape))
    while True:
        step = physics.A_adjoint(q) + adjoint(p)
        step = torch.fft.irfft2(torch.fft.rfft2(step).mul_(inverse), s=size).neg_()
        estimate = x + step
        ahead = estimate + step
        field = project(differences(ahead).mul_(rho).add_(p), weight, coupled)
        q.lerp_((physics.A(ahead) - y).mul_(beta).add_(q).div_(1 + beta), RELAXATION)
        p.lerp_(field, RELAXATION)
        x.add_(step, alpha=RELAXATION)
        yield estimate, lambda: (q, field)  # noqa: B023  (valid until the next step)


def metric(physics: LinearPhysics, like: Tensor, iterations: int = 20) -> Tensor:
    """Spectrum of a circulant M >= A^T A, positive, (1 | B, 1 | C, H, W // 2 + 1).

    A valid blur is a crop of the circular blur h, hence A^T A <= |h|^2. Otherwise the guess
    |h|^2 + floor (without a blur, a constant or the spectrum of projections) is scaled, per image,
    by the norm of A^T A in its metric, which the power method finds from below: 5 % are added for
    safety.
    """
    height, width = size = like.shape[-2:]
    transfer = transfer_function(physics, height, width)
    if transfer is None:
        guess = torch.ones_like(laplacian(height, width, like))[None, None]
        if isinstance(physics, ParallelBeam):
            guess = guess * physics.likeness(height, width)
    elif isinstance(physics, Blur) and physics.padding == "valid":
        return transfer.abs().square() + 1e-3
    else:
        guess = transfer.abs().square() + 0.3
    root = guess.rsqrt()

    def white(v: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft2(torch.fft.rfft2(v) * root, s=size)
        return out

    norm = power_method(
        lambda v: white(physics.A_adjoint(physics.A(white(v)))),
        every_frequency(like),
        iterations=iterations,
    )
    return 1.05 * norm.reshape(-1, 1, 1, 1).clamp_min(1e-6) * guess


def _start(y: Tensor, physics: LinearPhysics) -> Tensor:
    """A^T y / A^T A 1: what each pixel was seen as; the mean where it was hardly seen."""
    back = physics.A_adjoint(y)
    seen: Tensor = physics.A_adjoint(physics.A(torch.ones_like(back)))
    mask = seen > 0.01 * seen.amax((1, 2, 3), keepdim=True)
    x = torch.where(mask, back / torch.where(mask, seen, 1.0), 0.0)
    mean = x.sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True).clamp_min(1)
    return torch.where(mask, x, mean)
