"""Fixed points with Anderson acceleration, every image by itself.

    x = f(x)

    r_k = f(x_k) - x_k,    gamma = argmin ||r_k - R gamma||^2 + regularisation ||S gamma||^2
    x_{k+1} = x_k + damping r_k - (X + damping R) gamma

The columns of X and R are the last differences of x and of r, S is diagonal with their lengths.
Without them this is the plain iteration x <- f(x) (Picard, Krasnoselskii with damping < 1). For a
linear f the accelerated one is GMRES in another form.

Walker, Ni, Anderson acceleration for fixed-point iterations, 2011; type II of Fang, Saad 2009.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from challenge.methods.solvers.solution import NotConverged, Solution

GROWTH = 2.0
"""An image whose residual grows by this factor in one step forgets its differences."""
DIVERGED = 1e6
"""An image whose residual is this many times its least one is given up."""


def fixed_point(
    step: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    tolerance: float,
    iterations: int,
    memory: int = 5,
    damping: float = 1.0,
    regularisation: float = 1e-8,
    strict: bool = False,
    remedy: str = "allow more iterations, a larger tolerance, or a smaller damping",
) -> Solution:
    """Iterate x <- f(x) for every image by itself.

    Args:
        step: f, image by image; maps (B, ...) to (B, ...).
        start: x_0, shape (B, ...).
        tolerance: an image is finished when ||f(x) - x|| <= tolerance ||x||.
        iterations: evaluations of `step`, at most.
        memory: iterates that the next one is made of; 0 or 1 is the plain iteration.
        damping: in (0, 1], the share of f(x) - x that is added.
        regularisation: of the least-squares problem, in units of its columns' lengths.
        strict: raise where the residual did not fall below the tolerance.
        remedy: what the user can do then.

    Returns:
        Of every image the x of the least residual, also where the iteration diverged; that
        relative residual ||f(x) - x|| / ||x||; the evaluations of `step`.

    Raises:
        NotConverged: with `strict`, for the image of the largest residual.
    """
    shape = start.shape
    x = start.flatten(1)
    history: deque[tuple[Tensor, Tensor]] = deque(maxlen=max(memory - 1, 0))
    best, least = x, torch.full_like(x[:, 0].detach(), math.inf)
    active = torch.ones_like(least, dtype=torch.bool)
    last: tuple[Tensor, Tensor, Tensor] | None = None
    count = 0
    while count < iterations:
        count += 1
        r = step(x.reshape(shape)).flatten(1) - x
        residual = _relative(r, x)
        better = active & (residual < least)
        best, least = (
            torch.where(better[:, None], x, best),
            torch.where(better, residual, least),
        )
        active = active & (residual > tolerance) & (residual <= DIVERGED * least)
        if not bool(active.any()):
            break
        if last is not None:
            history.append((x - last[0], r - last[1]))
            forget = residual > GROWTH * last[2]
            if bool(forget.any()):
                keep = (~forget).to(x.dtype)[:, None]
                kept = [(keep * dx, keep * dr) for dx, dr in history]
                history.clear()
                history.extend(kept)
        last = (x, r, residual)
        following = x + damping * r
        if history:
            following = following - _correction(history, r, damping, regularisation)
        x = torch.where(active[:, None], following, x)
    if strict:
        _check(least, tolerance, count, remedy)
    return Solution(best.reshape(shape), least, count)


def _relative(r: Tensor, x: Tensor) -> Tensor:
    """||r|| / ||x|| of every image, shape (B,); inf where it is not finite."""
    length = x.detach().norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
    found = r.detach().norm(dim=1) / length
    return torch.where(found.isfinite(), found, math.inf)


def _correction(
    history: deque[tuple[Tensor, Tensor]], r: Tensor, damping: float, regularisation: float
) -> Tensor:
    """(X + damping R) gamma, shape (B, N); images without differences have none."""
    xs = torch.stack([dx for dx, _ in history], dim=1)
    rs = torch.stack([dr for _, dr in history], dim=1)
    lengths = rs.norm(dim=2)
    inverse = torch.where(lengths > 0, 1 / lengths, 0.0)
    # Columns of unit length: the normal equations are then as well scaled as they can be.
    unit = rs * inverse[..., None]
    gram = unit @ unit.mT + regularisation * torch.eye(rs.shape[1]).to(r)
    gram = gram + torch.diag_embed((lengths == 0).to(r.dtype))
    gamma = torch.linalg.solve(gram, unit @ r[..., None])[..., 0] * inverse
    found: Tensor = ((xs + damping * rs) * gamma[..., None]).sum(1)
    return torch.where(found.isfinite(), found, 0.0)


def _check(residual: Tensor, tolerance: float, count: int, remedy: str) -> None:
    worst = int(residual.argmax())
    value = float(residual[worst])
    if value <= tolerance:
        return
    raise NotConverged.of(
        "fixed point",
        f"the relative residual is `{value:.3g}` after {count} iterations, "
        f"asked was `{tolerance:.3g}` (image {worst} of {len(residual)})",
        remedy,
    )
