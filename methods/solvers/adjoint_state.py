"""The adjoint state: gradients through a flow, with memory that does not grow with its steps.

For x' = v(x, t, theta) on [0, T] and a loss l(x(T)), training is an optimal control problem,

    min_theta  l(x(T))     subject to     x' = v(x, t, theta),   x(0) = x_0,

of which Pontryagin's principle gives the costate a = dl/dx(t), backwards in time,

    a' = -(dv/dx)^T a,   a(T) = dl/dx(T),      dl/dtheta = int_0^T (dv/dtheta)^T a dt,

and dl/dx_0 = a(0). x is integrated backwards with a, from some states that were kept on the way,
at most `KEPT` however many steps there were: of a flow that contracts the way back expands, by
e^{m T} for a rate m, and between two of them by its `KEPT`th root. The integral is summed step by
step with the weights b of the method, and does not decide on steps (Kidger et al. 2021).

These are the equations of the continuous problem, each discretised by itself. What they give is
the gradient of what was computed up to the error of the integration only: with a tolerance, about
that; by Euler's method O(h), so that a residual network is trained by backpropagation instead,
whose gradient is that of the discrete steps.

Pontryagin et al. 1962; Chen, Rubanova, Bettencourt, Duvenaud, Neural Ordinary Differential
Equations, 2018; E, A Proposal on Machine Learning via Dynamical Systems, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from challenge.methods.solvers.ode import Field, Flow, Rule, Tableau, integrate

KEPT = 8
"""States of the way there, from which the way back begins anew."""


@dataclass
class Way:
    """How the way back went; filled by `backward`."""

    steps: int = 0
    rejected: int = 0
    evaluations: int = 0


def flow_with_adjoint(
    v: Field,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    rule: Rule,
    parameters: Sequence[Tensor],
    *,
    way: Way | None = None,
    remedy: str = "give a larger tolerance, or a shorter time",
) -> Flow:
    """The flow of v, whose gradient is that of the adjoint state.

    Args:
        v: the field, differentiable by autograd in x and `parameters`.
        x: x_0, shape (B, ...).
        begin: shape (B,).
        end: shape (B,).
        rule: of both ways.
        parameters: theta, tensors that v is made of; others have no gradient.
        way: filled by `backward`.
        remedy: what the user can do where it fails.

    Raises:
        UserError: see `integrate`; in `backward` too.
    """
    with torch.no_grad():
        flow = integrate(v, x, begin, end, rule, keep=KEPT, remedy=remedy)
    found = _Adjoint.apply(v, flow, rule, way or Way(), remedy, x, *parameters)
    return replace(flow, x=found, path=[])


class _Adjoint(torch.autograd.Function):
    """x(T) in the forward pass, the costate's flow in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        v: Field,
        flow: Flow,
        rule: Rule,
        way: Way,
        remedy: str,
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.v, ctx.rule, ctx.way, ctx.remedy = v, rule, way, remedy
        ctx.numbers = [number for number, _, _ in flow.path]
        ctx.count = len(parameters)
        ctx.save_for_backward(
            *parameters, *(t for _, t, _ in flow.path), *(state for _, _, state in flow.path)
        )
        return flow.x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved, count, kept = ctx.saved_tensors, ctx.count, len(ctx.numbers)
        parameters = saved[:count]
        times, states = saved[count : count + kept], saved[count + kept :]
        back = _Back(ctx.v, parameters)
        a, way = gradient, ctx.way
        places = list(zip(ctx.numbers, times, states, strict=True))
        for (first, begin, _), (last, end, x) in reversed(list(pairwise(places))):
            done = integrate(
                back,
                torch.stack([x, a], dim=1),
                end,
                begin,
                replace(ctx.rule, steps=last - first),
                parts=2,
                on_step=back.collect,
                remedy=ctx.remedy,
            )
            a = done.x[:, 1]
            way.steps += done.steps
            way.rejected += done.rejected
            way.evaluations += done.evaluations
        needs = ctx.needs_input_grad
        return (None,) * 5 + (a if needs[5] else None, *back.sums)


class _Back:
    """(x, a) -> (v, -(dv/dx)^T a), and the integral of (dv/dtheta)^T a."""

    def __init__(self, v: Field, parameters: Sequence[Tensor]) -> None:
        self.v, self.parameters = v, [each for each in parameters if each.requires_grad]
        self.where = [n for n, each in enumerate(parameters) if each.requires_grad]
        self.found = [torch.zeros_like(each) for each in self.parameters]
        self.all = len(parameters)
        self.stages: list[tuple[Tensor, Tensor]] = []
        """v and a of the step that is being made, v with its graph."""

    @property
    def sums(self) -> list[Tensor | None]:
        """Of every parameter; None where it has no gradient."""
        out: list[Tensor | None] = [None] * self.all
        for place, value in zip(self.where, self.found, strict=True):
            out[place] = value
        return out

    def __call__(self, state: Tensor, t: Tensor) -> Tensor:
        x, a = state.detach().unbind(1)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            slope = self.v(leaf, t)
        (back,) = torch.autograd.grad(slope, leaf, a, retain_graph=True)
        self.stages.append((slope, a))
        return torch.stack([slope.detach(), -back], dim=1)

    def collect(self, h: Tensor, tableau: Tableau) -> None:
        """Add a step's share of the integral, of the images whose step was made."""
        stages, self.stages = self.stages[-len(tableau.b) :], []
        if not self.parameters or not bool((h != 0).any()):
            return
        length = -h.reshape(-1, *[1] * (stages[0][1].dim() - 1))
        used = [n for n, b in enumerate(tableau.b) if b]
        found = torch.autograd.grad(
            [stages[n][0] for n in used],
            self.parameters,
            [tableau.b[n] * length * stages[n][1] for n in used],
            retain_graph=True,
            allow_unused=True,
        )
        for total, each in zip(self.found, found, strict=True):
            if each is not None:
                total += each
