"""Marginals of the forward processes, and samplers that carry noise to a known mixture."""

import math

import pytest
import torch

from challenge.methods.generative.noise_levels import levels
from challenge.methods.generative.processes import VarianceExploding, VariancePreserving
from challenge.methods.generative.samplers import (
    descend,
    langevin,
    probability_flow,
    reverse_sde,
    score,
)

PROCESSES = {"exploding": VarianceExploding(), "preserving": VariancePreserving()}
SHARE, MEANS, SPREADS = 0.3, (-0.5, 0.6), (0.1, 0.2)
"""Of two components: the share of the first one, their means and standard deviations."""
COUNT = 6000


def mixture(x, s):
    """D(x, s) of the mixture."""
    variance = torch.tensor(SPREADS, dtype=x.dtype).square() + s.reshape(-1, 1).square()
    mean = torch.tensor(MEANS, dtype=x.dtype)
    flat = x.reshape(-1, 1)
    weights = torch.tensor([SHARE, 1 - SHARE], dtype=x.dtype).log()
    logs = weights - variance.log() / 2 - (flat - mean).square() / (2 * variance)
    inner = mean + torch.tensor(SPREADS, dtype=x.dtype).square() / variance * (flat - mean)
    return (logs.softmax(1) * inner).sum(1).reshape(x.shape)


def noise():
    generator = torch.Generator().manual_seed(0)
    return lambda step: torch.randn(COUNT, 1, 1, 1, generator=generator)


@pytest.mark.parametrize("name", PROCESSES)
def test_marginals_solve_the_moment_equations(name):
    """m' = f m,   v' = 2 f v + g^2, from the marginals at t = 0 on."""
    process, count = PROCESSES[name], 20000
    scale, variance = process.scale(0), process.spread(0) ** 2
    for number in range(count):
        # Midpoints; spread and scale are those of x_0 without variance and with mean 1.
        t, step = (number + 0.5) / count, 1 / count
        f, g = process.drift(t), process.diffusion(t)
        decay = math.exp(f * step)
        scale, variance = scale * decay, variance * decay**2 + g**2 * step
    assert scale == pytest.approx(process.scale(1), rel=1e-3)
    assert variance == pytest.approx(process.spread(1) ** 2, rel=2e-3)


@pytest.mark.parametrize("name", PROCESSES)
def test_marginals_have_the_stated_mean_and_variance(name):
    """Of images that are simulated forwards by Euler-Maruyama."""
    process, steps, draw = PROCESSES[name], 400, noise()
    first = MEANS[1] + SPREADS[1] * draw(0)
    x = process.scale(0) * first + process.spread(0) * draw(0)
    for number in range(steps):
        t, after = number / steps, (number + 1) / steps
        x = x + process.drift(t) * x / steps + process.diffusion(t) * steps**-0.5 * draw(0)
        if after in (0.25, 0.5, 1.0):
            a, b = process.scale(after), process.spread(after)
            deviation = math.sqrt((a * SPREADS[1]) ** 2 + b**2)
            assert float(x.mean()) == pytest.approx(a * MEANS[1], abs=0.05 * deviation)
            assert float(x.std()) == pytest.approx(deviation, rel=0.05)


def samplers():
    for name, process in PROCESSES.items():
        start = process.spread(1)
        yield (
            f"sde {name}",
            lambda p=process, b=start: reverse_sde(p, mixture, b * noise()(0), 400, noise()),
        )
        yield (
            f"flow {name}",
            lambda p=process, b=start: probability_flow(p, mixture, b * noise()(0), 150),
        )
    ends = torch.tensor([3.0, 0.01]).reshape(2, 1, 1, 1, 1)
    yield (
        "langevin",
        lambda: langevin(mixture, 3 * noise()(0), levels(*ends, 40, rho=100), noise(), steps=30),
    )
    for eta in (0.0, 1.0):
        yield (
            f"ddim {eta}",
            lambda eta=eta: list(
                descend(
                    mixture, 10 * noise()(0), levels(ends[0] * 10 / 3, ends[1], 200), noise(), eta
                )
            )[-1],
        )


@pytest.mark.parametrize("name", [name for name, _ in samplers()])
def test_samplers_carry_noise_to_a_mixture(name):
    x = dict(samplers())[name]().flatten()
    middle = 0.0
    left, right = x[x < middle], x[x >= middle]
    assert len(left) / COUNT == pytest.approx(SHARE, abs=0.03)
    for part, mean, spread in zip((left, right), MEANS, SPREADS, strict=True):
        assert float(part.mean()) == pytest.approx(mean, abs=0.02)
        assert float(part.std()) == pytest.approx(spread, rel=0.1)


def test_the_score_is_the_gradient_of_the_log_density():
    x = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(-1, 1, 1, 1).requires_grad_()
    s = torch.tensor(0.3, dtype=torch.float64).reshape(1, 1, 1, 1)
    total = 0
    for share, mean, spread in zip((SHARE, 1 - SHARE), MEANS, SPREADS, strict=True):
        variance = spread**2 + s**2
        total = total + share * torch.exp(-((x - mean) ** 2) / (2 * variance)) / variance.sqrt()
    (wanted,) = torch.autograd.grad(total.log().sum(), x)
    torch.testing.assert_close(score(mixture, x.detach(), s), wanted)
