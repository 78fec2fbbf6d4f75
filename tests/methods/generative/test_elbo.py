"""The bound of a linear-Gaussian model has a closed form; trained, it is probabilistic PCA."""

import math

import pytest
import torch

from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.methods.contract_test import ToySession, toy_problem
from challenge.methods.generative import elbo
from challenge.methods.generative.vae import VAE
from challenge.methods.networks.autoencoder import LatentNet

SIDE = 4
"""Of the square of pixels that one latent vector of the linear model stands for."""
NUMBERS = SIDE**2


def linear(latent=3, width=NUMBERS, **knobs):
    """A VAE whose encoder and decoder are linear in each square of pixels."""
    net = LatentNet(latent=latent, width=width, depth=0, blocks=0, shuffle=SIDE)
    return VAE(net=net, channels=1, **knobs)


def weights_of(method):
    """W and b of the decoder x = W z + b, for one square of pixels."""
    decoder, latent = method.nets["decoder"], method.design.latent
    like = next(decoder.parameters())
    basis = torch.eye(latent).to(like)[:, :, None, None]
    b = decoder(torch.zeros_like(basis[:1])).flatten()
    return (decoder(basis).flatten(1) - b).T, b


def closed_form(method, x):
    """The bound of images of one square of pixels, over their numbers, with no draw in it."""
    mean, log_variance = (each.flatten(1) for each in elbo.split(method.nets["encoder"](x)))
    W, b = weights_of(method)
    gamma2 = method.log_variance.exp()
    spread = (W.square() * log_variance.exp()[:, None]).sum((1, 2))
    fit = ((x.flatten(1) - mean @ W.T - b).square().sum(1) + spread) / gamma2
    normal = NUMBERS * (2 * math.pi * gamma2).log()
    rate = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return ((fit + normal) / 2 + method.beta * rate).mean() / NUMBERS


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_bound_and_its_gradient_equal_the_closed_form(beta, monkeypatch):
    """Over points of N(0, I) whose mean of every quadratic function is the expectation."""
    torch.manual_seed(0)
    method = linear(beta=beta).double()
    x = torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64)
    points = math.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    drawn = points.repeat_interleave(2, 0)[:, :, None, None]
    monkeypatch.setattr(torch, "randn_like", lambda like: drawn)
    bound = method.negative_elbo(x.repeat(6, 1, 1, 1))
    wanted = closed_form(method, x)
    torch.testing.assert_close(bound, wanted, rtol=1e-12, atol=0)
    parameters = list(method.parameters())
    found = torch.autograd.grad(bound, parameters)
    for each, other in zip(found, torch.autograd.grad(wanted, parameters), strict=True):
        torch.testing.assert_close(each, other, rtol=1e-9, atol=1e-12)


def test_the_bound_is_tight_for_the_exact_posterior():
    """And is log N(x; b, W W^T + gamma^2 I) there; below it for any other encoder."""
    torch.manual_seed(1)
    method = linear(deviation=0.2).double()
    with torch.no_grad():
        for layer in (*method.nets["encoder"].children(), *method.nets["decoder"].children()):
            for parameter in layer.parameters():
                parameter.zero_()
        columns = torch.linalg.qr(torch.randn(NUMBERS, 3).double())[0] * torch.tensor(
            [1, 0.5, 0.25]
        )
        encoder, decoder = method.nets["encoder"], method.nets["decoder"]
        decoder.head.weight[:, :, 1, 1] = columns
        decoder.tail.weight[:, :, 1, 1] = encoder.head.weight[:, :, 1, 1] = torch.eye(NUMBERS)
        precision = columns.T @ columns / 0.2**2 + torch.eye(3).double()
        encoder.tail.weight[:3, :, 1, 1] = torch.linalg.solve(precision, columns.T) / 0.2**2
        encoder.tail.bias[3:] = -precision.diagonal().log()
    x = 0.5 + torch.randn(5, 1, SIDE, SIDE, dtype=torch.float64) / 4
    covariance = columns @ columns.T + 0.2**2 * torch.eye(NUMBERS).double()
    mean = torch.full((NUMBERS,), 0.5, dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x.flatten(1))
    evidence = -evidence.mean() / NUMBERS
    torch.testing.assert_close(closed_form(method, x), evidence, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        encoder.tail.bias += 0.1
    assert closed_form(method, x) > evidence + 1e-3


def test_free_bits_are_charged_channel_by_channel():
    nats = torch.tensor([0.1, 2.0]).reshape(1, 2, 1, 1).expand(3, 2, 4, 5)
    assert float(elbo.rate(nats)) == pytest.approx(20 * 2.1)
    assert float(elbo.rate(nats, 1.0)) == pytest.approx(20 * (math.log(2) + 2.0))


@pytest.mark.slow
def test_trained_it_recovers_probabilistic_pca():
    """Subspace, variances and noise of Tipping and Bishop's (1999) maximum likelihood."""
    torch.manual_seed(2)
    latent, side, gamma = 2, 16, 0.05
    W = torch.linalg.qr(torch.randn(NUMBERS, latent))[0] * torch.tensor([0.3, 0.2])
    z = torch.randn(200, latent, side // SIDE, side // SIDE)
    x = torch.nn.functional.pixel_shuffle(torch.einsum("ij,njhw->nihw", W, z), SIDE)
    x = 0.5 + x + gamma * torch.randn_like(x)
    images = Images.of({f"{n:03}": each for n, each in enumerate(x)})
    method = linear(latent)
    train = TrainConfig(
        steps=1000, batch=8, patch=16, tune=2, evaluate=1000, lr=2e-2, precision="float32",
        schedule="cosine",
        augment={"flips": False, "rotations": False},
    )  # fmt: skip
    problem = toy_problem(channels=1, operator="identity")
    method.fit(problem, images, train, ToySession())

    data = torch.cat([torch.nn.functional.pixel_unshuffle(each[None], SIDE) for each in images])
    data = data.movedim(1, 0).flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(data))
    noise = float(values[:-latent].mean())
    assert float(method.log_variance.detach().exp()) == pytest.approx(noise, rel=0.1)
    with torch.no_grad():
        found, lengths, _ = torch.linalg.svd(weights_of(method)[0], full_matrices=False)
    wanted = (values[-latent:].flip(0) - noise).tolist()
    assert lengths.square().tolist() == pytest.approx(wanted, rel=0.1)
    cosines = torch.linalg.svdvals(found.T @ vectors[:, -latent:])
    assert float(cosines.min()) > 0.99
