"""Preconditioned conjugate gradient for a batch of positive definite systems.

    M x = right,   M = M^T > 0,  one system per image

    x <- x + a p,   r <- r - a M p,   a = <r, P r> / <p, M p>
    p <- P r + b p,                   b = <r_new, P r_new> / <r, P r>

Every image has its own a and b and is frozen when its residual is small enough, so that its
solution does not depend on the rest of the batch. A direction with <p, M p> <= 0 proves that M is
not positive definite; it is refused, since every later step would be meaningless.

Hestenes, Stiefel 1952.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from challenge.methods.solvers.solution import NotPositiveDefinite, Solution

Operator = Callable[[Tensor], Tensor]

REMEDY = "give the regularisation more weight, which adds to every curvature"


def conjugate_gradient(
    operator: Operator,
    right: Tensor,
    *,
    start: Tensor | None = None,
    precondition: Operator | None = None,
    tolerance: float,
    iterations: int,
    strict: bool = True,
    remedy: str = REMEDY,
) -> Solution:
    """Solve operator(x) = right for every image by itself.

    Args:
        operator: linear, symmetric, positive definite, image by image; maps (B, ...) to (B, ...).
        right: shape (B, ...), such as (B, C, H, W).
        start: first x, of the shape of `right`; 0 by default, and for an image where 0 is nearer.
        precondition: an approximate inverse of `operator`, symmetric positive definite.
        tolerance: an image is finished when ||right - operator(x)|| <= tolerance ||right||.
        iterations: at most so many.
        strict: raise where the operator is not positive definite; else such an image is frozen
            before that direction, and of all x the one with the smallest residual is returned.
        remedy: what the user can do then.

    Returns:
        x, the relative residual ||right - operator(x)|| / ||right|| computed afresh at the end,
        and the iterations. Where `right` is 0, x and the residual are 0.

    Raises:
        NotPositiveDefinite: with `strict`, a direction has a curvature <p, M p> <= 0 or not finite.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1).reshape(shape)

    shape = (-1,) + (1,) * (right.dim() - 1)
    tiny = torch.finfo(right.dtype).tiny
    # In units of the right side's largest value, whose square may be out of range.
    unit = right.detach().abs().flatten(1).amax(1).reshape(shape)
    unit = torch.where(unit == 0, 1.0, unit)
    b = right / unit
    length = dot(b, b).detach().sqrt().clamp_min(tiny)

    if start is None:
        x, r = torch.zeros_like(b), b
    else:
        x = start / unit
        r = b - operator(x)
        nearer = dot(r, r).sqrt() <= length  # A start that is worse than 0 is not used.
        x, r = torch.where(nearer, x, 0.0), torch.where(nearer, r, b)
    z = r if precondition is None else precondition(r)
    p, rho = z, dot(r, z)
    smallest = dot(r, r).sqrt()
    active = smallest > tolerance * length
    kept, count = x, 0
    while count < iterations and bool(active.any()):
        count += 1
        q = operator(p)
        curvature = dot(p, q)
        bad = active & ~(curvature > 0)
        if strict:
            _check(bad, curvature / dot(p, p).clamp_min(tiny), count, remedy)
        active = active & ~bad
        step = torch.where(active, rho / curvature.clamp_min(tiny), 0.0)
        x = x + step * p
        r = r - step * q
        size = dot(r, r).sqrt()
        if not strict:
            # Along a direction of next to no curvature a step is as long as it is wrong.
            kept = torch.where(size <= smallest, x, kept)
            smallest = torch.minimum(size, smallest)
        active = active & (size > tolerance * length)
        z = r if precondition is None else precondition(r)
        before, rho = rho, dot(r, z)
        p = z + torch.where(active, rho / before.clamp_min(tiny), 0.0) * p
    x = x if strict else kept
    r = b - operator(x) if count else r
    return Solution(x * unit, (dot(r, r).detach().sqrt() / length).flatten(), count)


def _check(bad: Tensor, curvature: Tensor, count: int, remedy: str) -> None:
    if not bool(bad.any()):
        return
    image = int(bad.flatten().nonzero()[0])
    raise NotPositiveDefinite.of(
        "conjugate gradient",
        f"the curvature of direction {count} is `{float(curvature.flatten()[image]):.3g}`, "
        f"not positive (image {image} of {len(bad)})",
        remedy,
    )
