"""What a map does near a point: products with its Jacobian, and what follows from them.

    J^T u = grad_x <D(x), u>   by reverse mode     J v = grad_u <J^T u, v>   by reverse mode twice

    norm of a J + b I        the largest singular value, of M^T M with M = a J + b I
    symmetric part           the least and the largest eigenvalue of (J + J^T) / 2
    eigenvalues              some of J, the largest |eigenvalue| among them
    asymmetry                ||J - J^T||_F / ||J||_F, from random directions

A norm found is one that a direction has, ||M v|| for a unit v: it never exceeds the norm, and the
norm at a point never exceeds the Lipschitz constant of the map. So all of these are lower bounds.

A map that cannot be differentiated is told by its values: ||D(x + h v) - D(x)|| / h is a lower
bound of the Lipschitz constant at any h > 0, and there are no transposed products.

Reverse mode twice takes no longer than forward mode, and its graph is made once for all products.

Hutchinson 1989 (norms from random directions); Griewank, Walther, Evaluating Derivatives, 2008.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from challenge.methods.solvers.krylov import krylov

Map = Callable[[Tensor], Tensor]

REACH = 0.01
"""Length of a difference, the root mean square over the pixels, in units of the image range."""
SHORT = 0.001
"""Length of the difference that a derivative is held against."""
ALIKE = 0.3
"""By which a derivative may differ from a difference: kinks lie in between."""
ADJOINT = 1e-2
"""By which <u, J v> and <J^T u, v> may differ, beside the lengths of all."""


@dataclass(frozen=True)
class Combination:
    """a J + b I, the Jacobian of a D + b I."""

    a: float
    b: float


WHOLE = Combination(1, 0)
"""Of D."""
RESIDUAL = Combination(-1, 1)
"""Of I - D."""
REFLECTED = Combination(2, -1)
"""Of 2 D - I."""


class Jacobian:
    """The Jacobian of a map at the images of a batch, each by itself.

    Args:
        function: D, image by image, (B, C, H, W) to the same shape.
        x: where, shape (B, C, H, W).
    """

    def __init__(self, function: Map, x: Tensor) -> None:
        self.function, self.x = function, x.detach()
        with torch.no_grad():
            self.value = function(self.x)
        self._graph: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self.exact = self._agrees()
        """Whether products are derivatives; else they are differences, and none is transposed."""

    def forward(self, v: Tensor) -> Tensor:
        """J v, or (D(x + h v) - D(x)) / h."""
        if not self.exact:
            return self._difference(v)
        return self._forward(v)

    def reverse(self, u: Tensor) -> Tensor:
        """J^T u; only where `exact`."""
        assert self._graph is not None
        leaf, out, _, _ = self._graph
        (found,) = torch.autograd.grad((out * u).sum(), leaf, retain_graph=True)
        return found

    def _forward(self, v: Tensor) -> Tensor:
        assert self._graph is not None
        _, _, dual, back = self._graph
        (found,) = torch.autograd.grad((back * v).sum(), dual, retain_graph=True)
        return found

    def _difference(self, v: Tensor, reach: float = REACH) -> Tensor:
        """Over a way of so many units along v, whatever the length of v; 0 for v = 0."""
        length = _length(v)
        h = reach * math.sqrt(v[0].numel()) / length.clamp_min(torch.finfo(v.dtype).tiny)
        with torch.no_grad():
            return (self.function(self.x + h * v) - self.value) / h

    def _agrees(self) -> bool:
        """Whether both products exist, are adjoint, and are what the values say."""
        u, v = (_directions(self.x, seed) for seed in (1, 2))
        try:
            with torch.enable_grad():
                leaf = self.x.clone().requires_grad_()
                out = self.function(leaf)
                if not out.requires_grad:
                    return False
                dual = torch.zeros_like(out, requires_grad=True)
                # A sum: `torch.autograd.grad` of a vector imports a compiler, for seconds.
                (product,) = torch.autograd.grad((out * dual).sum(), leaf, create_graph=True)
            self._graph = leaf, out, dual, product
            forward, back = self._forward(v), self.reverse(u)
        except (RuntimeError, NotImplementedError):  # no derivative, or only a first one
            return False
        difference = self._difference(v, SHORT)
        off = _length(forward - difference) > ALIKE * torch.maximum(
            _length(forward), _length(difference)
        )
        one, other = _inner(u, forward), _inner(back, v)
        size = _length(u) * _length(forward) + _length(back) * _length(v)
        wrong = (one - other).abs() > ADJOINT * size
        return not bool((off | wrong).any())


def norm(
    jacobian: Jacobian, start: Tensor, steps: int, of: Combination = WHOLE
) -> tuple[Tensor, Tensor]:
    """A lower bound of ||a J + b I|| of every image, close to it after a few steps.

    Args:
        jacobian: at the images.
        start: a direction, shape (B, C, H, W); best a random one.
        steps: products with M^T M; of a map without derivative, differences.
        of: a and b.

    Returns:
        ||M v||, shape (B,), and the unit direction v, shape (B, C, H, W).
    """

    def forward(v: Tensor) -> Tensor:
        return of.a * jacobian.forward(v) + of.b * v

    if not jacobian.exact:
        return _by_differences(forward, start, steps)

    def product(v: Tensor) -> Tensor:
        u = forward(v)
        return of.a * jacobian.reverse(u) + of.b * u

    *_, top = krylov(product, start, steps).ends()
    v = top.to(start.dtype).reshape(start.shape)
    return _length(forward(v)).flatten(), v


def _by_differences(forward: Map, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The largest quotient on the way of a power iteration without the transpose."""
    v = best = start / _length(start)
    most = torch.zeros_like(_length(v))
    for _ in range(steps):
        u = forward(v)
        length = _length(u)
        best = torch.where(length > most, v, best)
        most = torch.maximum(length, most)
        # What is mapped to 0 leads nowhere.
        v = torch.where(length > 0, u / length.clamp_min(torch.finfo(u.dtype).tiny), v)
    return most.flatten(), best


def symmetric_part(jacobian: Jacobian, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Ritz values at both ends of the spectrum of (J + J^T) / 2, each of shape (B,).

    The least eigenvalue is not above the first, the largest not below the second.
    """

    def product(v: Tensor) -> Tensor:
        return (jacobian.forward(v) + jacobian.reverse(v)) / 2

    least, largest, _ = krylov(product, start, steps).ends()
    return least, largest


def eigenvalues(jacobian: Jacobian, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Ritz values theta of J, complex, and residuals ||J q - theta q||, shape (B, steps) each.

    There is a matrix at most so far from J as the residual says that has this eigenvalue; of a
    symmetric J, an eigenvalue at most so far from theta. The outer ones converge first. Where the
    space is complete before so many steps, the others are 0 with a residual of inf.
    """
    found = krylov(jacobian.forward, start, steps)
    values, vectors = torch.linalg.eig(found.small)
    size = vectors.norm(dim=1)
    rest: Tensor = found.rest[:, None] * (vectors[:, -1].abs() / size)
    there = (found.basis.norm(dim=2) > 0).to(size)
    inside = (there[:, :, None] * vectors).norm(dim=1) > 0.5 * size
    return values, torch.where(inside, rest, torch.inf)


def spectral_radius(jacobian: Jacobian, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """|theta| of the largest of `eigenvalues`, and its residual, shape (B,) each."""
    values, rest = eigenvalues(jacobian, start, steps)
    place = torch.where(rest.isfinite(), values.abs(), -1.0).argmax(1, keepdim=True)
    return values.abs().gather(1, place)[:, 0], rest.gather(1, place)[:, 0]


def asymmetry(jacobian: Jacobian, directions: list[Tensor]) -> Tensor:
    """An estimate of ||J - J^T||_F / ||J||_F of every image, shape (B,); 0 for a gradient.

    Args:
        jacobian: at the images.
        directions: random ones with independent entries, each of shape (B, C, H, W).
    """
    off = on = torch.zeros_like(_length(jacobian.x))
    for u in directions:
        forward, back = jacobian.forward(u), jacobian.reverse(u)
        off = off + _length(forward - back).square()
        on = on + (_length(forward).square() + _length(back).square()) / 2
    return (off / on.clamp_min(torch.finfo(on.dtype).tiny)).sqrt().flatten()


def ascend(
    function: Map, x: Tensor, v: Tensor, radius: float, steps: int, of: Combination = WHOLE
) -> tuple[Tensor, Tensor]:
    """Move points to where a D + b I stretches more, no further than `radius` from where they are.

    Gradient ascent on the quotient ||M(x + w) - M(x)|| / ||w||, M = a D + b I, in x, and power
    iteration in w. Not on ||J v||: networks of rectifiers are linear in pieces, and the gradient
    of their Jacobian is 0.

    Args:
        function: D, differentiable by reverse mode.
        x: where to begin, shape (B, C, H, W).
        v: direction in which it stretches there, of that shape.
        radius: root mean square of x's way, in units of the image range.
        steps: of the ascent.

    Returns:
        The points seen of the largest quotients, and those quotients, shape (B,): each is a lower
        bound of the Lipschitz constant.
    """
    reach = REACH * math.sqrt(x[0].numel())
    longest = radius * math.sqrt(x[0].numel())
    at, w = x.detach(), reach * v / _length(v)
    best, most = at, torch.zeros_like(_length(at))
    for _ in range(steps + 1):
        with torch.enable_grad():
            here, there = at.clone().requires_grad_(), (at + w).requires_grad_()
            step = of.a * (function(there) - function(here)) + of.b * (there - here)
            stretched = step.flatten(1).norm(dim=1)
            to_here, to_there = torch.autograd.grad(stretched.sum(), (here, there))
        quotient = stretched.detach().reshape(-1, 1, 1, 1) / _length(w)
        best = torch.where(quotient > most, at, best)
        most = torch.maximum(quotient, most)
        uphill = to_here + to_there
        # Rounding only: a linear map has no slope anywhere.
        uphill = torch.where(_length(uphill) > 1e-4 * _length(to_there), uphill, 0.0)
        way = at - x + 2 * longest / steps * uphill / _length(uphill).clamp_min(1e-30)
        at = x + way * (longest / _length(way).clamp_min(1e-30)).clamp_max(1)
        w = reach * to_there / _length(to_there).clamp_min(1e-30)
        w = torch.where(_length(w) > 0.5 * reach, w, reach * v / _length(v))
    return best, most.flatten()


def _length(x: Tensor) -> Tensor:
    """Of every image, shape (B, 1, 1, 1)."""
    found: Tensor = x.flatten(1).norm(dim=1)
    return found.reshape(-1, *[1] * (x.dim() - 1))


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))


def _directions(x: Tensor, seed: int) -> Tensor:
    """The same random direction for every image, whatever the batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(x[:1].shape, generator=generator).to(x).expand_as(x)
