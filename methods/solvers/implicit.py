"""Implicit differentiation: derivatives of a solution without those of its solver.

Stationary point, g = grad_x E:    g(x*, theta) = 0     =>  dx*/dtheta = -H^-1 dg/dtheta,  H = dg/dx
Fixed point:                       x* = f(x*, theta)    =>  dx*/dtheta = (1 - df/dx)^-1 df/dtheta

For a loss l(x*) with gradient v the chain rule needs one adjoint solve per image,

    H q = v,  dl/dtheta = -(dg/dtheta)^T q         or        q = (df/dx)^T q + v,
                                                             dl/dtheta = (df/dtheta)^T q,

by conjugate gradient on products H q, or by Anderson acceleration on products (df/dx)^T q, which
autograd gives. `attach` hands out x* as a part of the autograd graph, so that `loss.backward()`
yields the hypergradient for whatever theta the functions g or f were computed from: several
parameters, and those that are results themselves. The graph holds one evaluation of g or f: memory
does not depend on how many iterations led to x*.

`jacobian_free` puts the identity in place of the adjoint system, q = P v / L and q = v: no solve,
a biased gradient (Fung et al. 2022), the derivative through the last step alone.

Error. Let x be a point with ||g(x)|| <= e, q with ||H(x) q - v(x)|| <= d, E mu-strongly convex, v
S-Lipschitz (S = 1 / N for the mean squared error), H and dg/dtheta Lipschitz in x with constants
K and B, and ||dg/dtheta|| <= G. Then ||x - x*|| <= e / mu and

    ||error|| <= G (d / mu + (S + K ||q||) e / mu^2) + B ||q|| e / mu,

`error_bound`. For a quadratic E, K = 0.

Krantz, Parks, The implicit function theorem, 2002; Pedregosa, Hyperparameter optimization with
approximate gradient, 2016, theorem 1; Ehrhardt, Roberts, Analyzing inexact hypergradients for
bilevel learning, 2024; Salehi et al., MAID, 2024; Fung et al., JFB, 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from challenge.methods.solvers.conjugate_gradient import conjugate_gradient
from challenge.methods.solvers.fixed_point import fixed_point
from challenge.methods.solvers.solution import NotConverged, Solution

Mode = Literal["implicit", "jacobian_free"]
Function = Callable[[Tensor], Tensor]

SLACK = 10.0
"""An adjoint residual of so many times the tolerance is refused."""


@dataclass
class Report:
    """How the adjoint system was solved; filled by `backward`."""

    residual: Tensor | None = None
    """Of every image, shape (B,), relative to its right side."""
    iterations: int = 0
    curvature: Tensor | None = None
    """<q, H q> / <q, q> of every image, shape (B,): an upper bound of the least curvature."""
    adjoint: Tensor | None = None
    """||q|| of every image, shape (B,)."""
    right: Tensor | None = None
    """||v|| of every image, shape (B,)."""


@dataclass(frozen=True)
class Adjoint:
    """How the adjoint system is to be solved."""

    mode: Mode = "implicit"
    tolerance: float = 1e-6
    """Of the relative residual."""
    iterations: int = 200
    strict: bool = True
    """Raise where H is not positive definite, or the residual stays above ten times the tolerance;
    else the solve ends there, and the report tells."""
    remedy: str = "allow more iterations, or give the regularisation more weight"
    """What the user can do, for the message."""


def stationary(
    gradient: Function,
    x: Tensor,
    adjoint: Adjoint,
    *,
    precondition: Function | None = None,
    report: Report | None = None,
) -> Tensor:
    """A stationary point as a function of whatever `gradient` was made of.

    Args:
        gradient: g(x, theta) = grad_x E, differentiable by autograd in x and theta, image by
            image; called once now and once in `backward`.
        x: where g is about 0, shape (B, ...); no graph of it is used.
        adjoint: mode, tolerance and iterations of the adjoint solve.
        precondition: P, an approximate inverse of H, symmetric positive definite. It is also the
            "identity" of `jacobian_free`: there it must be the step of the solver, P / L.
        report: filled by `backward`.

    Returns:
        The values of x, shape (B, ...), attached to the graph of theta.

    Raises:
        NotPositiveDefinite: in `backward`, where strict: H has a curvature <= 0, x is not a
            strict minimiser.
        NotConverged: in `backward`, where strict: the adjoint residual is far above its tolerance.
    """
    at = x.detach()

    def solve(v: Tensor) -> Tensor:
        if adjoint.mode == "jacobian_free":
            return -(v if precondition is None else precondition(v))
        with torch.enable_grad():
            leaf = at.clone().requires_grad_()
            g = gradient(leaf)

        def product(p: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(g, leaf, p, retain_graph=True)
            return found

        found = conjugate_gradient(
            product,
            v,
            precondition=precondition,
            tolerance=adjoint.tolerance,
            iterations=adjoint.iterations,
            strict=adjoint.strict,
            remedy=adjoint.remedy,
        )
        _report(report, found, v)
        _check(found, adjoint)
        return -found.x

    with torch.enable_grad():
        return _attach(gradient(at), at, solve)


def fixed(
    step: Function, x: Tensor, adjoint: Adjoint, *, memory: int = 5, report: Report | None = None
) -> Tensor:
    """A fixed point as a function of whatever `step` was made of.

    Args:
        step: f(x, theta), differentiable by autograd in x and theta, image by image; called once
            now and once in `backward`.
        x: where f(x) is about x, shape (B, ...); no graph of it is used.
        adjoint: mode, tolerance and iterations of the adjoint iteration.
        memory: of its Anderson acceleration.
        report: filled by `backward`; its curvature stays None.

    Returns:
        The values of x, shape (B, ...), attached to the graph of theta.

    Raises:
        NotConverged: in `backward`: the adjoint iteration diverges, f is not a contraction at x.
    """
    at = x.detach()

    def solve(v: Tensor) -> Tensor:
        if adjoint.mode == "jacobian_free":
            return v
        with torch.enable_grad():
            leaf = at.clone().requires_grad_()
            f = step(leaf)

        def following(q: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(f, leaf, q, retain_graph=True)
            return found + v

        found = fixed_point(
            following,
            v,
            tolerance=adjoint.tolerance,
            iterations=adjoint.iterations,
            memory=memory,
        )
        _report(report, found, v, curvature=False)
        _check(found, adjoint)
        return found.x

    with torch.enable_grad():
        return _attach(step(at), at, solve)


def error_bound(
    *,
    lower: Tensor,
    adjoint: Tensor,
    convexity: Tensor | float,
    sensitivity: Tensor | float,
    smoothness: float,
    adjoint_norm: Tensor | float,
    hessian: float = 0.0,
    mixed: float = 0.0,
) -> Tensor:
    """Bound of the hypergradient's error of every image, shape (B,); the formula stands above.

    Args:
        lower: e = ||g(x)||, shape (B,).
        adjoint: d = ||H q - v||, shape (B,).
        convexity: mu. With a measured curvature in its place the result is an estimate.
        sensitivity: G, norm of dg/dtheta.
        smoothness: S, Lipschitz constant of the upper loss's gradient.
        adjoint_norm: ||q||, shape (B,).
        hessian: K, Lipschitz constant of H.
        mixed: B, Lipschitz constant of dg/dtheta.
    """
    at = lower / convexity
    inner = adjoint / convexity + (smoothness + hessian * adjoint_norm) * at / convexity
    return sensitivity * inner + mixed * adjoint_norm * at


class _Attach(torch.autograd.Function):
    """x in the forward pass, an adjoint solve in the backward pass."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, x: Tensor, solve: Function) -> Tensor:
        ctx.solve = solve
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        return ctx.solve(v), None, None


def _attach(carrier: Tensor, x: Tensor, solve: Function) -> Tensor:
    attached: Tensor = _Attach.apply(carrier, x, solve)
    return attached


def _report(report: Report | None, found: Solution, v: Tensor, curvature: bool = True) -> None:
    if report is None:
        return
    q, right = found.x.flatten(1), v.flatten(1)
    report.residual, report.iterations = found.residual, found.iterations
    report.adjoint, report.right = q.norm(dim=1), right.norm(dim=1)
    if curvature:
        # H q = v up to the residual.
        unit = q / report.adjoint.clamp_min(torch.finfo(q.dtype).tiny)[:, None]
        report.curvature = (unit * right).sum(1) / report.adjoint


def _check(found: Solution, adjoint: Adjoint) -> None:
    worst = int(found.residual.nan_to_num(torch.inf).argmax())
    value = float(found.residual[worst])
    if not adjoint.strict or value <= SLACK * adjoint.tolerance:
        return
    raise NotConverged.of(
        "adjoint system",
        f"the relative residual is `{value:.3g}` after {found.iterations} iterations, asked was "
        f"`{adjoint.tolerance:.3g}` (image {worst} of {len(found.residual)})",
        adjoint.remedy,
    )
