"""Accelerated gradient descent for smooth energies, with a certificate.

    min_x E(x),   one energy per image

    x_k     = z_k - P grad E(z_k) / L
    z_{k+1} = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1}),    t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2

P is a preconditioner with hess E <= L P^-1; P = 1 and a Lipschitz constant L give Nesterov's
method. Momentum is dropped (t = 1) where it points uphill, <grad E(z_k), x_k - x_{k-1}> > 0, which
makes the rate linear without knowing the convexity. A point z with momentum is kept only where
the energy is not higher than at the point before, else the gradient step alone is taken: the
energies fall monotonically, so that the method also finds stationary points of non-convex
energies. Where a step without momentum shows that L is too small, by a gradient that changes more
than its own length, <dg, P dg> > <grad, P grad>, or by a higher energy, L is raised.

The certificate: E is mu-strongly convex  =>  ||x - x*|| <= ||grad E(x)|| / mu.

Nesterov 1983; Beck, Teboulle, MFISTA, 2009; O'Donoghue, Candes, Adaptive restart, 2015.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from challenge.methods.solvers.solution import Minimum

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (B, ...) -> energies (B,), gradient (B, ...)."""

ROUNDING = 16
"""Energies are compared up to this many units of their last place."""
DOUBT = 1000
"""Within this many times more, the gradient decides."""
DOUBTFUL = 1.01
"""L is raised where it is seen to be too small by more than this factor."""


def descend(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float,
    iterations: int,
    lipschitz: float | Tensor = 1.0,
    precondition: Callable[[Tensor], Tensor] | None = None,
    convexity: float | Tensor | None = None,
) -> Minimum:
    """Minimise a smooth energy of every image by itself.

    Differentiable by autograd (unrolled) where grad mode is on and `objective` is; L, t and the
    decisions are constants then.

    Args:
        objective: energies (B,) and gradient (B, ...) at x (B, ...), image by image.
        start: first x, shape (B, ...).
        tolerance: an image is finished when ||grad E(x)|| <= tolerance sqrt(N), N its number of
            values: the root mean square of the gradient. It is frozen then.
        iterations: evaluations of `objective`, at most, the first one included.
        lipschitz: first L, > 0, a number or shape (B,); see `power_method` where none is known.
        precondition: P, linear, symmetric positive definite, image by image.
        convexity: mu > 0, a number or shape (B,), where one is known.

    Returns:
        The point of the last accepted step, whose energy is at most that of `start`.
    """
    shape = (-1,) + (1,) * (start.dim() - 1)
    size, tiny = start[0].numel() ** 0.5, torch.finfo(start.dtype).tiny

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a.detach() * b.detach()).flatten(1).sum(1).reshape(shape)

    def evaluate(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, gradient = objective(at)
        step = gradient if precondition is None else precondition(gradient)
        return value.detach().reshape(shape), gradient, step

    z = start
    energy, gradient, direction = evaluate(z)
    level = torch.as_tensor(lipschitz).to(start).reshape(shape) + torch.zeros_like(energy)
    t = torch.ones_like(energy)
    x_before = z
    count = 1
    slope = dot(gradient, gradient).sqrt() / size
    while count < iterations:
        active = slope > tolerance
        if not bool(active.any()):
            break
        count += 1
        x = z - direction / level
        ahead = x - x_before
        uphill = dot(gradient, ahead) > 0
        t = torch.where(uphill, 1.0, t)
        t_next = (1 + (1 + 4 * t * t).sqrt()) / 2
        momentum = (t - 1) / t_next
        trial = x + momentum * ahead
        found, slope_there, direction_there = evaluate(trial)

        slack = ROUNDING * torch.finfo(start.dtype).eps * energy.abs()
        # Where rounding hides the difference, the slope at the end of a step decides: for convex E
        # <grad E(trial), trial - z> <= 0 proves that the energy fell.
        falling = (found <= energy + DOUBT * slack) & (dot(slope_there, trial - z) <= 0)
        lower = (found <= energy + slack) | falling
        plain = active & (momentum == 0)
        if bool(plain.any()):
            change = dot(slope_there - gradient, direction_there - direction)
            ratio = (change / dot(gradient, direction).clamp_min(tiny)).clamp_min(0).sqrt()
            ratio = torch.where(ratio > DOUBTFUL, ratio.clamp_max(2), torch.where(lower, 1.0, 2.0))
            level = torch.where(plain, ratio * level, level)

        accepted = active & lower
        x_before = torch.where(accepted, x, x_before)
        t = torch.where(accepted, t_next, 1.0)
        z = torch.where(accepted, trial, z)
        gradient = torch.where(accepted, slope_there, gradient)
        direction = torch.where(accepted, direction_there, direction)
        energy = torch.where(accepted, found, energy)
        slope = dot(gradient, gradient).sqrt() / size
    residual = slope.flatten()
    distance = None if convexity is None else residual * size / convexity
    return Minimum(z, residual, count, distance, level.flatten())


def power_method(
    operator: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 20
) -> Tensor:
    """Largest eigenvalue of a symmetric positive operator of every image, shape (B,), from below.

    Args:
        operator: linear, image by image; maps (B, ...) to (B, ...).
        start: not orthogonal to the eigenvector, such as noise, shape (B, ...).
        iterations: evaluations of `operator`; a few per cent are missing after 20.
    """
    shape = (-1,) + (1,) * (start.dim() - 1)
    value = torch.zeros_like(start.flatten(1)[:, 0])
    v = start
    for _ in range(iterations):
        length = v.flatten(1).norm(dim=1).clamp_min(torch.finfo(v.dtype).tiny)
        v = operator(v / length.reshape(shape))
        value = v.flatten(1).norm(dim=1)
    return value


def every_frequency(like: Tensor) -> Tensor:
    """A start for `power_method` of the shape of `like`, (B, ...), one and the same for all images.

    A golden-section sequence instead of random numbers: it has every frequency.
    """
    v = torch.arange(like[0].numel(), dtype=torch.float64, device=like.device)
    v = (v * 0.6180339887498949).frac().sub(0.5).to(like.dtype).reshape(1, *like.shape[1:])
    return v.expand_as(like)
