"""Primal-dual gap of total variation over a box: how far from optimal, at most.

    P(x) = 1/2 ||A x - y||^2 + weight TV(x)

Write both terms through their conjugates: 1/2 ||A x - y||^2 = max_q <q, A x - y> - 1/2 ||q||^2, and
weight TV(x) = max_p <p, D x> over fields p whose magnitude is at most `weight` everywhere. For such
p and any q, P(x) >= <A^T q + D^T p, x> - <q, y> - 1/2 ||q||^2. Over all x the smallest value of the
right side is -inf unless A^T q = -D^T p exactly, which an ill-posed A never allows. Over the box
K = {x : |x - 1/2| <= R} it is

    D(q, p) = -1/2 ||q||^2 - <q, y> + <g, 1/2> - R ||g||_1,   g = A^T q + D^T p

always finite, and D(q, p) <= min_K P (weak duality). Along the iterations of a solver, with its
own p and q (A x - y where it keeps no q), g and the gap P(x) - D(q, p) tend to 0. Images live in
[0, 1]; R = 1 leaves half the range as room on both sides. Where the estimate overshoots even that,
R grows to hold it: so x is always in K,

    gap >= P(x) - min_K P >= 0,

and this bounds P(x) - min P as soon as K holds a minimiser. Chambolle, Pock 2011, section 3 and 6.
In float32 the relative gap cannot fall much below 1e-4: g is a difference of nearly equal fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from challenge.methods.transforms.differences import adjoint, total_variation

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

ROOM = 1.0
"""Half the side of the box, R."""


def objective(
    x: Tensor, y: Tensor, physics: LinearPhysics, weight: Tensor, *, coupled: bool
) -> Tensor:
    """P(x) of every image, shape (B,); `weight` has shape (1 | B, 1, 1, 1)."""
    residual = physics.A(x) - y
    return _primal(x, residual, weight, coupled)


def dual(
    q: Tensor, p: Tensor, y: Tensor, physics: LinearPhysics, room: Tensor | float = ROOM
) -> Tensor:
    """D(q, p) of every image, shape (B,).

    Args:
        q: any tensor of the shape of `y`.
        p: field of shape (2, B, C, H, W), of magnitude at most the weight.
        y: measurements, shape (B, C, H', W').
        physics: the operator.
        room: R, a number or shape (B,).
    """
    g: Tensor = physics.A_adjoint(q) + adjoint(p)
    return g.flatten(1).sum(1) / 2 - room * g.abs().flatten(1).sum(1) - _sum(q * (q / 2 + y))


def gap(
    x: Tensor,
    q: Tensor | None,
    p: Tensor,
    y: Tensor,
    physics: LinearPhysics,
    weight: Tensor,
    *,
    coupled: bool,
) -> tuple[Tensor, Tensor]:
    """The gap and P(x) of every image, each of shape (B,); q is A x - y where None is given."""
    residual = physics.A(x) - y
    room = (x - 0.5).abs().amax((1, 2, 3)).clamp_min(ROOM)
    primal = _primal(x, residual, weight, coupled)
    return primal - dual(residual if q is None else q, p, y, physics, room), primal


def _primal(x: Tensor, residual: Tensor, weight: Tensor, coupled: bool) -> Tensor:
    return _sum(residual * residual) / 2 + weight.flatten() * total_variation(x, coupled)


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)
