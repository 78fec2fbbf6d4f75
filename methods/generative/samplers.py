"""Samples of a distribution of images, from the denoiser of that distribution.

    score(x, s) = grad log p_s(x) = (D(x, s) - x) / s^2          Tweedie's formula

where p_s is the density of x_0 + s n. A forward process (`processes.py`) carries an image to noise,
x_t = a(t) x_0 + b(t) n with dx = f(t) x dt + g(t) dW. Backwards in time it is

    reverse_sde        dx = (f x - g^2 score_t(x)) dt + g dW            Euler, Maruyama
    probability_flow   dx = (f x - g^2 score_t(x) / 2) dt               Heun

with score_t(x) = score(x / a, b / a) / a. At the lowest level the rest of the noise is taken off
by D. Without a process, Langevin dynamics at a falling noise level, `steps` at each,

    langevin           x <- x + h s_k^2 score(x, s_k) + s_k sqrt(2 h) n

`descend` is what `diffusion` takes, in as few steps as can be: DDIM with eta from 0, the
probability flow, to 1, the reverse SDE,

    x <- D + sqrt(s_{k+1}^2 - eta^2 t^2) (x - D) / s_k + eta t n
    t^2 = s_{k+1}^2 (1 - s_{k+1}^2 / s_k^2)

Anderson 1982; Song et al. 2021, Score-Based Generative Modeling through Stochastic Differential
Equations; Song, Ermon 2019 (langevin); Song, Meng, Ermon 2021 (DDIM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from challenge.methods.generative.guidance import Denoise
from challenge.methods.generative.noise_levels import Noise
from challenge.methods.generative.processes import Process

LANGEVIN_STEP = 0.1
"""h of `langevin`: a step forgets a tenth of where it began, at levels far above the spread of the
images; below, less."""


def score(denoise: Denoise, x: Tensor, s: Tensor) -> Tensor:
    """grad log p_s(x), shape (B, C, H, W); `s` > 0 of shape (1 | B, 1, 1, 1)."""
    return (denoise(x, s) - x) / s.square()


def reverse_sde(process: Process, denoise: Denoise, x: Tensor, steps: int, noise: Noise) -> Tensor:
    """Samples by the reverse-time SDE, of the shape of `x`.

    Args:
        process: the forward process.
        denoise: D.
        x: samples at t = 1, shape (B, C, H, W).
        steps: Euler-Maruyama steps from t = 1 to t = 0.
        noise: of every step.
    """
    times = torch.linspace(1, 0, steps + 1).tolist()
    for number, (t, after) in enumerate(zip(times, times[1:], strict=False)):
        drift, diffusion = process.drift(t), process.diffusion(t)
        towards = drift * x - diffusion**2 * _score_at(process, denoise, x, t)
        x = x - (t - after) * towards + diffusion * (t - after) ** 0.5 * noise(number)
    return _last(process, denoise, x)


def probability_flow(process: Process, denoise: Denoise, x: Tensor, steps: int) -> Tensor:
    """Samples by the probability-flow ODE, a function of `x` alone; arguments as above."""

    def slope(x: Tensor, t: float) -> Tensor:
        half = 0.5 * process.diffusion(t) ** 2
        return process.drift(t) * x - half * _score_at(process, denoise, x, t)

    times = torch.linspace(1, 0, steps + 1).tolist()
    for t, after in zip(times, times[1:], strict=False):
        first = slope(x, t)
        second = slope(x - (t - after) * first, after)
        x = x - (t - after) * (first + second) / 2
    return _last(process, denoise, x)


def langevin(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    noise: Noise,
    steps: int = 10,
    step: float = LANGEVIN_STEP,
) -> Tensor:
    """Samples by annealed Langevin dynamics, of the shape of `x`.

    Args:
        denoise: D.
        x: samples at the first level, shape (B, C, H, W).
        levels: s_1 > ... > s_K, shape (K,).
        noise: of every step.
        steps: at every level.
        step: h.
    """
    number = 0
    for s in levels.reshape(-1, 1, 1, 1, 1):
        for _ in range(steps):
            x = x + step * (denoise(x, s) - x) + s * (2 * step) ** 0.5 * noise(number)
            number += 1
    return denoise(x, levels.reshape(-1, 1, 1, 1, 1)[-1])


def descend(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    noise: Noise,
    eta: float,
    check: Callable[[Tensor, int], None] | None = None,
) -> Iterator[Tensor]:
    """Yield D after every step, the last of which is the sample.

    Args:
        denoise: D.
        x: samples at the first level, shape (B, C, H, W).
        levels: s_1 > ... > s_K, shape (K, 1 | B, 1, 1, 1).
        noise: of every step, from 1 to K - 1.
        eta: in [0, 1].
        check: called with every estimate and the number of its step, from 1.
    """
    after = torch.cat([levels[1:], torch.zeros_like(levels[:1])])
    for number, (s, lower) in enumerate(zip(levels, after, strict=True), 1):
        mean = denoise(x, s)
        if check is not None:
            check(mean, number)
        yield mean
        if number == len(levels):
            return
        fresh = eta * lower * (1 - (lower / s).square()).clamp_min(0).sqrt()
        kept = (lower.square() - fresh.square()).clamp_min(0).sqrt() / s
        x = mean + kept * (x - mean) + fresh * noise(number)


def _score_at(process: Process, denoise: Denoise, x: Tensor, t: float) -> Tensor:
    """The score of the process's density at time t."""
    scale, spread = process.scale(t), process.spread(t)
    level = x.new_full((1, 1, 1, 1), spread / scale)
    return (scale * denoise(x / scale, level) - x) / spread**2


def _last(process: Process, denoise: Denoise, x: Tensor) -> Tensor:
    scale = process.scale(0.0)
    return denoise(x / scale, x.new_full((1, 1, 1, 1), process.spread(0.0) / scale))
