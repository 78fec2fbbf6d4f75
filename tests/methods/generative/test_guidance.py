"""Posterior samples of a Gaussian, where mean and covariance are known exactly."""

import pytest
import torch

from challenge.methods.contract_test import COLOURED, toy_problem
from challenge.methods.generative.diffusion import Diffusion
from challenge.methods.generative.guidance import Weights, posterior_mean
from challenge.methods.generative.noise_levels import levels
from challenge.methods.generative.samplers import descend
from challenge.methods.solvers.data_term import DataTerm
from tests.methods.generative.gaussians import Gaussian, matrix, moments, posterior

NOISE, SPREAD, MEAN = 0.03, 0.25, 0.5
KINDS = ("moment", "pigdm", "dps", "diffpir")
EXACT = Weights(solves=500, tolerance=1e-12)


def measured(operator: str, side: int, boundary: str | None = None):
    """A data term in double precision, the matrix of A, and the shape of the image."""
    problem = toy_problem(1, boundary, operator, {"sigma": NOISE})
    side = problem.fitting(max(side, problem.smallest))
    x = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1))
    y, physics = problem.measure(x, [0])
    a = matrix(lambda each: physics.A(each.float()).double(), x.shape[1:])
    return y, physics, a, x.shape


def correlated(count: int) -> torch.Tensor:
    """A covariance that is neither white nor diagonal in Fourier space."""
    place = torch.arange(count, dtype=torch.float64)
    return SPREAD**2 * torch.exp(-(place[:, None] - place).abs() / 5)


@pytest.mark.parametrize("operator", sorted(COLOURED))
@pytest.mark.parametrize("kind", ["moment", "pigdm"])
def test_the_posterior_mean_at_every_level_is_exact(kind, operator):
    """`moment` for any Gaussian prior, `pigdm` for a white one, over every operator."""
    y, physics, a, shape = measured(operator, 12)
    count = a.shape[1]
    covariance = correlated(count) if kind == "moment" else SPREAD**2 * torch.eye(count).double()
    prior = Gaussian(MEAN, covariance)
    data = DataTerm(y, physics, tolerance=1e-7, iterations=500)
    weights = EXACT._replace(spread=SPREAD, tolerance=1e-6)
    for level in (0.02, 0.2, 2.0):
        s = torch.full((1, 1, 1, 1), level)
        x = MEAN + level * torch.randn(shape, generator=torch.Generator().manual_seed(2))
        found = posterior_mean(kind, prior.denoise, data, weights)(x, s)
        given = torch.linalg.inv(torch.linalg.inv(covariance) + torch.eye(count) / level**2)
        mean = prior.denoise(x.double(), s.double()).flatten()
        gain, _ = posterior(a, given, NOISE)
        wanted = mean + gain @ (y.flatten().double() - a @ mean)
        torch.testing.assert_close(found.flatten().double(), wanted, rtol=0, atol=5e-4)


def small_problem(operator: str = "inpainting", side: int = 2):
    """Some pixels are seen, or all are blurred: small, and in double precision."""
    problem = toy_problem(1, None, operator, {"sigma": NOISE})
    x = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(3))
    y, physics = problem.measure(x, [0])
    y, physics = y.double(), physics.double() if hasattr(physics, "double") else physics
    return y, physics, matrix(physics.A, x.shape[1:]), x.shape


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["moment", "pigdm"])
def test_the_samples_have_the_mean_and_the_covariance_of_the_posterior(kind, eta):
    y, physics, a, shape = small_problem()
    count, steps = a.shape[1], 250 if eta else 600
    covariance = correlated(count) if kind == "moment" else SPREAD**2 * torch.eye(count).double()
    prior = Gaussian(MEAN, covariance)
    data = DataTerm(y, physics)
    guided = posterior_mean(kind, prior.denoise, data, EXACT._replace(spread=SPREAD))
    schedule = levels(
        *torch.tensor([5.0 if eta else 50.0, 1e-3]).double().reshape(2, 1, 1, 1, 1), steps
    )

    def sample(x, noise):
        *_, last = descend(guided, x, schedule, noise, eta)
        return last

    start = torch.full(shape, MEAN).double(), schedule[0]
    mean, spread = moments(sample, start, steps - 1 if eta else 0)
    gain, wanted = posterior(a, covariance, NOISE)
    exact = MEAN + gain @ (y.flatten() - MEAN * a.sum(1))
    torch.testing.assert_close(mean, exact, rtol=0, atol=3e-3)
    assert (spread - wanted).norm() < 0.04 * wanted.norm()


def prior_and_posterior(kind: str, operator: str, side: int):
    """How far the defaults of `diffusion` go from a white prior to the posterior.

    Returns:
        As far as A sees them: the mean of the samples, that of the posterior, the prior's, and the
        standard deviations of the samples and of the posterior.
    """
    y, physics, a, shape = small_problem(operator, side)
    prior, count = 0.3, a.shape[1]
    method = Diffusion(denoiser=Gaussian(prior, SPREAD), guidance=kind, steps=30)
    data = DataTerm(y, physics)
    guided = posterior_mean(kind, method._denoise, data, method.weights)
    schedule = method._levels(data.sigma)

    def sample(x, noise):
        *_, last = descend(guided, x, schedule, noise, method.eta)
        return last

    start = method.wiener(data)[0], schedule[0]
    found, covariance = moments(sample, start, len(schedule) - 1)
    gain, wanted = posterior(a, SPREAD**2 * torch.eye(count).double(), NOISE)
    exact = prior + gain @ (y.flatten() - prior * a.sum(1))
    seen = (a.T @ a).diagonal() > 0
    deviations = (each.diagonal()[seen].sqrt() for each in (covariance, wanted))
    return found[seen], exact[seen], prior, *deviations


@pytest.mark.parametrize(("operator", "side"), [("inpainting", 2), ("identity", 2), ("blur", 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_default_weights_move_the_mean_from_the_prior_to_the_posterior(kind, operator, side):
    """Standard deviations and coverage are what `docs/decisions.md` says of them."""
    found, exact, prior, own, right = prior_and_posterior(kind, operator, side)
    way = float((found - prior) @ (exact - prior) / (exact - prior).square().sum())
    assert 0.8 <= way <= 1.05
    assert 0.8 <= float((own / right).mean()) <= 1.06
    for count, normal in ((1, 0.683), (2, 0.954)):
        truth = torch.distributions.Normal(exact, right)
        share = truth.cdf(found + count * own) - truth.cdf(found - count * own)
        assert normal - 0.08 <= float(share.mean()) <= normal + 0.01
