"""One step of the proximal algorithms that split data term and regulariser.

    min_x f(x) + g(x),   f(x) = 1/2 ||A x - y||^2,   g known by its prox alone

    pgd     x <- prox_g(x - s grad f(x))
    hqs     x <- prox_g(prox_{f,R}(x))
    admm    v = prox_{f,R}(x - u),   x <- prox_g(v + u),   u <- u + v - x
    drs     v = prox_{f,R}(z),       x <- prox_g(2 v - z),   z <- z + x - v
    pdhg    q <- (q + s (A w - y)) / (1 + s),   x+ = prox_g(x - t A^T q),   w = 2 x+ - x,   x <- x+

with prox_{f,R}(v) = argmin_x f(x) + 1/2 <x - v, R (x - v)>. Every function takes prox_g as a
function of one image, so that a network can stand in its place: the step lengths by which prox_g
is scaled are the caller's business. pgd converges for 0 < s < 2 / ||A||^2, pdhg for
s t ||A||^2 <= 1, admm and drs for every R > 0; hqs minimises g + the envelope of f with penalty R.

Combettes, Wajs 2005 (pgd); Geman, Yang 1995 (hqs); Boyd et al. 2011, section 3 (admm, scaled);
Lions, Mercier 1979 (drs; with a denoiser Ryu et al. 2019, section 2.2); Chambolle, Pock 2011,
algorithm 1 with theta = 1 (pdhg).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from challenge.methods.solvers.data_term import DataTerm

Prox = Callable[[Tensor], Tensor]


class State(NamedTuple):
    """What an algorithm carries from step to step."""

    x: Tensor
    """The estimate, shape (B, C, H, W)."""
    other: Tensor
    """admm: the scaled dual u; drs: z; pdhg: the extrapolated w; of the shape of x, else unused."""
    dual: Tensor
    """pdhg: the dual q of the data term, of the shape of y; else unused."""


def start(x: Tensor, data: DataTerm, algorithm: str) -> State:
    """The state before the first step: u = 0, z = w = x, q = 0."""
    other = torch.zeros_like(x) if algorithm == "admm" else x
    return State(x, other, torch.zeros_like(data.y))


def pgd(state: State, data: DataTerm, prox: Prox, step: Tensor) -> State:
    """Proximal gradient; `step` s > 0, shape () or (B, 1, 1, 1)."""
    return state._replace(x=prox(state.x - step * data.gradient(state.x)))


def hqs(state: State, data: DataTerm, prox: Prox, weight: Tensor) -> State:
    """Half-quadratic splitting; `weight` R as in `DataTerm.prox`."""
    return state._replace(x=prox(data.prox(state.x, weight)))


def admm(state: State, data: DataTerm, prox: Prox, weight: Tensor) -> State:
    """Alternating directions; `weight` R as in `DataTerm.prox`."""
    v = data.prox(state.x - state.other, weight)
    x = prox(v + state.other)
    return State(x, state.other + v - x, state.dual)


def drs(state: State, data: DataTerm, prox: Prox, weight: Tensor) -> State:
    """Douglas-Rachford splitting; `weight` R as in `DataTerm.prox`."""
    v = data.prox(state.other, weight)
    x = prox(2 * v - state.other)
    return State(x, state.other + x - v, state.dual)


def rescaled(state: State, algorithm: str, ratio: Tensor) -> State:
    """The state where R is to change, so that the dual in it stays; `ratio` is old R / new R.

    In units of R, the dual of admm is u and that of drs is z - x (Boyd et al. 2011, 3.4.1).
    """
    if algorithm == "admm":
        return state._replace(other=state.other * ratio)
    if algorithm == "drs":
        return state._replace(other=state.x + (state.other - state.x) * ratio)
    return state


def pdhg(state: State, data: DataTerm, prox: Prox, dual_step: Tensor, step: Tensor) -> State:
    """Primal-dual hybrid gradient; `dual_step` s and `step` t > 0."""
    ahead: Tensor = data.physics.A(state.other) - data.y
    q = (state.dual + dual_step * ahead) / (1 + dual_step)
    back: Tensor = data.physics.A_adjoint(q)
    x = prox(state.x - step * back)
    return State(x, 2 * x - state.x, q)
