"""The evidence lower bound of a Gaussian variational autoencoder, term by term.

    p(z) = N(0, I),   p(x | z) = N(G(z), gamma^2 I),   q(z | x) = N(mu(x), diag s^2(x))

    log p(x) >= E_q log p(x | z) - KL(q(z | x) || p(z))

    -log p(x | z) = ||x - G(z)||^2 / (2 gamma^2) + D/2 log(2 pi gamma^2)        the distortion
    KL            = 1/2 sum_j (mu_j^2 + s_j^2 - 1 - log s_j^2)                  the rate

in nats, for images of D numbers. beta weights the rate (Higgins et al. 2017); with free bits every
channel of the latents may carry so many at no cost, so that none is given up early (Kingma et al.
2016). Kingma, Welling 2014; a gamma that is learned: Rybkin, Daniilidis, Levine 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOWEST, HIGHEST = -12.0, 6.0
"""Of log s^2: beyond, float32 adds nothing to a latent, or nothing is left of it."""

ACTIVE = 0.01
"""A channel of latents carries something from so many nats a place (Burda, Grosse, Salakhutdinov
2016 count by variances)."""


def distortion(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(x; mean, exp(log_variance) I) of every image in nats, shape (B,); both (B, C, H, W).

    Args:
        x: images.
        mean: G(z), of the same shape.
        log_variance: log gamma^2, a scalar.
    """
    error = (x - mean).square().flatten(1)
    normal = error.shape[1] * (log_variance + math.log(2 * math.pi))
    return (error.sum(1) / log_variance.exp() + normal) / 2


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of every latent in nats, of their shape."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def rate(nats: Tensor, free_bits: float = 0.0) -> Tensor:
    """The rate that an image is charged, averaged over the batch: a scalar in nats.

    Args:
        nats: the divergence of every latent, shape (B, C, h, w).
        free_bits: a channel whose mean over batch and places is below so many is charged these.
    """
    places = nats.shape[-2] * nats.shape[-1]
    return nats.mean((0, 2, 3)).clamp_min(free_bits * math.log(2)).sum() * places


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """z = mu + s n, n ~ N(0, I), from torch's generator; differentiable in mu and s."""
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)


def split(found: Tensor) -> tuple[Tensor, Tensor]:
    """mu and log s^2, each (B, C, h, w), from an encoder's (B, 2 C, h, w)."""
    mean, log_variance = found.chunk(2, dim=1)
    return mean, log_variance.clamp(LOWEST, HIGHEST)
