"""Denoising score matching: what its minimiser is, and what it differs from."""

import math

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.generative.samplers import score
from challenge.methods.generative.score import Score
from challenge.methods.generative.score_matching import denoising_error, precondition, weight
from tests.methods.generative.gaussians import Gaussian
from tests.methods.generative.test_samplers import mixture


def test_denoising_differs_from_explicit_score_matching_by_a_constant():
    """By quadrature over the noise and the two points of a distribution, for any denoiser."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    noise = torch.from_numpy(nodes).reshape(-1, 1, 1, 1)
    mass = torch.from_numpy(weights / weights.sum()).flatten()
    pairs, s = ((-0.4, 0.3), (0.7, 0.7)), torch.full((1, 1, 1, 1), 0.4).double()

    def exact(x, s):
        logs = torch.stack([math.log(share) - (x - a).square() / (2 * s**2) for a, share in pairs])
        return sum(w * a for w, (a, _) in zip(logs.softmax(0), pairs, strict=True))

    gaps = []
    for a, b, c in ((0.0, 0.0, 0.0), (0.9, 0.1, 0.0), (0.2, -0.3, 0.5), (1.0, 0.0, -2.0)):

        def denoise(x, s, a=a, b=b, c=c):
            return a * x + b + c * torch.sin(2 * x)

        implicit = explicit = 0.0
        for point, share in pairs:
            x = torch.full_like(noise, point)
            implicit += share * float(mass @ denoising_error(denoise, x, noise, s))
            noisy = x + s * noise
            error = (denoise(noisy, s) - exact(noisy, s)).square().mean((1, 2, 3))
            explicit += share * float(mass @ error)
        gaps.append((implicit - explicit) / float(s) ** 4)
    assert gaps[0] > 0.1
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-9)


def test_the_learned_score_of_gaussian_images_is_the_analytic_one():
    """Two pixels that are correlated; at every level D is linear, and so is the network."""
    torch.manual_seed(0)
    covariance = torch.tensor([[0.04, 0.03], [0.03, 0.06]])
    prior, factor = Gaussian(0.5, covariance), torch.linalg.cholesky(covariance)
    mean, spread = torch.full((1, 1, 1, 1), 0.5), torch.tensor(0.05).sqrt()
    for level in (0.05, 0.2, 1.0):
        s = torch.full((1, 1, 1, 1), level)
        net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.Unflatten(1, (1, 1, 2))
        )

        def denoise(x, s, net=net):
            return precondition(net, x, s, mean, spread)

        optimiser, steps = torch.optim.Adam(net.parameters(), 5e-2), 200
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = 5e-2 * (1 - step / steps)
            x = 0.5 + (torch.randn(600, 2) @ factor.T).reshape(-1, 1, 1, 2)
            error = denoising_error(denoise, x, torch.randn_like(x), s)
            optimiser.zero_grad()
            (weight(s, spread) * error).mean().backward()
            optimiser.step()
        x = 0.5 + (torch.randn(1000, 2) @ factor.T).reshape(-1, 1, 1, 2)
        x = x + level * torch.randn_like(x)
        with torch.no_grad():
            found = score(denoise, x, s)
        wanted = score(prior.denoise, x, s)
        assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_preconditioning_makes_the_network_s_task_one_of_variance_1():
    """Where F = 0, the weighted error is 1 at every level if images are white."""
    x = 0.5 + 0.2 * torch.randn(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    mean, spread = torch.full((1, 1, 1, 1), 0.5), torch.tensor(0.2)
    for level in (0.01, 0.2, 5.0):
        s = torch.full((1, 1, 1, 1), level)
        given = []

        def net(x, given=given):
            given.append(x)
            return torch.zeros_like(x[:, :1])

        error = denoising_error(lambda x, s: precondition(net, x, s, mean, spread), x, noise, s)
        assert float(given[0][:, :1].std()) == pytest.approx(1, rel=0.02)
        assert float((weight(s, spread) * error).mean()) == pytest.approx(1, rel=0.02)


def test_a_training_learns_the_images_moments_and_lowers_its_loss():
    method, session = Score(width=8, depth=1, blocks=1), ToySession()
    images = toy_images(6)
    train = TrainConfig(steps=40, batch=4, patch=32, tune=2, evaluate=20, lr=3e-3)
    method.fit(toy_problem(operator="identity"), images, train, session)
    values = torch.cat([images[index].flatten(1) for index in range(6)], 1)
    torch.testing.assert_close(method.mean.flatten(), values.mean(1))
    about = (values - values.mean(1, keepdim=True)).square().mean().sqrt()
    torch.testing.assert_close(method.spread, about)
    losses = [line["loss"] for line in session.lines if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    assert method.levels.known == pytest.approx((0.001, 10.0))


def test_levels_that_do_not_rise_are_refused():
    with pytest.raises(UserError, match=r"`method.lowest`: is `0.5`, the highest .* is `0.1`"):
        Score(lowest=0.5, highest=0.1)


def test_the_mixture_s_denoiser_is_a_score_network_too():
    """At high levels D is the mean of all images."""
    far = mixture(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 100.0))
    assert float(far) == pytest.approx(0.3 * -0.5 + 0.7 * 0.6, abs=1e-3)
