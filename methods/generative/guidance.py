"""The mean of an image given a noisy copy of it and a measurement, from a denoiser.

    x = x_0 + s n,   y = A x_0 + sigma e,   D(x, s) = E[x_0 | x]   (Tweedie's formula)

The distribution of x_0 given x is taken for a Gaussian N(D, C), where C = s^2 dD/dx by the second
order of Tweedie's formula. Then, with J = dD/dx,

    D_y(x, s) = E[x_0 | x, y] = D + C A^T (A C A^T + sigma^2)^-1 (y - A D)

which is a denoiser whose samples are those of the posterior. The kinds differ in what they take C
for:

    moment     C = s^2 J^T: A C A^T + sigma^2 is inverted by conjugate gradients, each of whose
               steps goes back through the network once
    pigdm      s^2 J^T for the C at the left, r^2 I for the one inside, r^2 = p^2 s^2 / (p^2 + s^2)
    dps        as pigdm, but nothing is inverted: two steps of steepest descent, of exact length, on
               ||A (D + d) - y||^2 / sigma^2 + ||d||^2 / r^2 from d = 0; D_y = D + w s^2 / r^2 J^T d
    diffpir    r^2 / strength I: D_y = (A^T A + R)^-1 (A^T y + R D), R = strength sigma^2 / r^2

p is the standard deviation of the images, `spread`. For a Gaussian prior, `moment` is exact; for an
isotropic one of that spread, `pigdm` and `diffpir` with strength 1 are. The score of the posterior
is (D_y - x) / s^2. Zhu et al. take r = s in `diffpir`, which is a large spread: at high levels it
believes the measurement where that is mostly noise.

Chung et al. go one step along the gradient of ||y - A D||^2, divided by ||y - A D||. Here a step
ends at the minimum along it, so that w, `weight`, means the same for images of any size. The second
step is for what a blur weakens: one length fits its strongest frequency alone.

Rozet, Andry, Lanusse, Louppe 2024 (moment); Song, Vahdat, Mardani, Kautz 2023 (pigdm); Chung, Kim,
McCann, Klasky, Ye 2023 (dps); Zhu et al. 2023 (diffpir).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from challenge.methods.solvers.conjugate_gradient import conjugate_gradient
from challenge.methods.solvers.data_term import DataTerm

Guidance = Literal["moment", "pigdm", "diffpir", "dps"]
DESCENTS = 2
"""Steps of `dps` towards the measurement in every pass."""
Denoise = Callable[[Tensor, Tensor], Tensor]
"""D(x, s) of images (B, C, H, W) and a level of shape (1 | B, 1, 1, 1)."""


class Weights(NamedTuple):
    """The numbers of the file's equations."""

    strength: float = 1.0
    """Of `diffpir`: the denoiser's weight beside the measurement's."""
    spread: float = 0.15
    """p of all but `moment`, in units of the image range."""
    weight: float = 1.0
    """Of the measurement in `dps`."""
    solves: int = 5
    """Conjugate gradient steps of `moment`, at most."""
    tolerance: float = 1e-3
    """Their relative residual."""


def posterior_mean(kind: Guidance, denoise: Denoise, data: DataTerm, weights: Weights) -> Denoise:
    """D_y of the file's equations; its estimates carry no gradient.

    Args:
        kind: which approximation.
        denoise: D, differentiable unless the kind is `diffpir`.
        data: the measurement, its operator and its noise level.
        weights: the numbers of the approximation.
    """
    if kind == "diffpir":

        @torch.no_grad()
        def plain(x: Tensor, s: Tensor) -> Tensor:
            penalty = weights.strength * data.sigma.square() / _isotropic(s, weights.spread)
            return data.prox(denoise(x, s), penalty)

        return plain

    guide = {"moment": _moment, "pigdm": _pigdm, "dps": _dps}[kind]

    def guided(x: Tensor, s: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            mean = denoise(x, s)

        def back(v: Tensor) -> Tensor:
            """J^T v."""
            (found,) = torch.autograd.grad(mean, x, v.to(mean.dtype), retain_graph=True)
            return found

        with torch.no_grad():
            return mean.detach() + guide(mean.detach(), back, s, data, weights)

    return guided


Back = Callable[[Tensor], Tensor]


def _moment(mean: Tensor, back: Back, s: Tensor, data: DataTerm, weights: Weights) -> Tensor:
    physics, noise, variance = data.physics, data.sigma.square(), s.square()

    def covariance(v: Tensor) -> Tensor:
        found: Tensor = variance * back(physics.A_adjoint(v))
        return found

    u = conjugate_gradient(
        lambda v: physics.A(covariance(v)) + noise * v,
        data.y - physics.A(mean),
        tolerance=weights.tolerance,
        iterations=weights.solves,
        # A network's Jacobian is neither symmetric nor positive: the best so far is taken.
        strict=False,
    ).x
    return covariance(u)


def _pigdm(mean: Tensor, back: Back, s: Tensor, data: DataTerm, weights: Weights) -> Tensor:
    inside = _isotropic(s, weights.spread)
    # r^2 A^T (r^2 A A^T + sigma^2)^-1 (y - A D)
    step = data.prox(mean, data.sigma.square() / inside) - mean
    return s.square() / inside * back(step)


def _dps(mean: Tensor, back: Back, s: Tensor, data: DataTerm, weights: Weights) -> Tensor:
    noise, inside = data.sigma.square(), _isotropic(s, weights.spread)
    d = torch.zeros_like(mean)
    for _ in range(DESCENTS):
        g = data.gradient(mean + d) / noise + d / inside
        along = _squares(data.physics.A(g)) / noise + _squares(g) / inside
        # At the minimum g is 0, and so is the step.
        d = d - _squares(g) / along.clamp(min=torch.finfo(g.dtype).tiny) * g
    return weights.weight * s.square() / inside * back(d)


def _squares(x: Tensor) -> Tensor:
    """||x||^2 of every image, shape (B, 1, 1, 1)."""
    return x.square().sum((1, 2, 3), keepdim=True)


def _isotropic(s: Tensor, spread: float) -> Tensor:
    """r^2, the variance of x_0 given x where images are white noise of that spread."""
    return spread**2 * s.square() / (spread**2 + s.square())
