"""The energies of a latent prior: their gradients, their minima, their seeds."""

from pathlib import Path

import pytest
import torch

from challenge.methods import registry
from challenge.methods.contract_test import COLOURED, toy_images, toy_problem
from challenge.methods.generative import latent_prior
from challenge.methods.generative.latent_energy import Energy, Inference, starts
from challenge.methods.solvers.data_term import DataTerm

OPERATORS = [("blur", None), ("blur", "valid")]
OPERATORS += [(kind, None) for kind in COLOURED if kind != "blur"]
SMALL = {"latent": 4, "width": 4, "depth": 1, "blocks": 1, "shuffle": 2, "activation": "softplus"}
KINDS = [("latent", "spectrum"), ("joint", "white"), ("joint", "spectrum")]


def make(name="vae", **inference):
    torch.manual_seed(0)
    section = {"name": name, "net": SMALL, "inference": inference, "precision": "float32"}
    return registry.build(section, Path()).eval()


def measured(operator="blur", boundary=None, count=2, side=24):
    problem = toy_problem(operator=operator, boundary=boundary)
    side = problem.fitting(side)
    x = torch.stack([toy_images(count, side=side)[n] for n in range(count)])
    return problem.measure(x, range(count))


def energy_of(method, y, physics):
    """In double precision, with conjugate gradients that come to their end."""
    data = DataTerm(y.double(), physics.double(), tolerance=1e-12, iterations=2000)
    method.double()
    penalty = None
    if method.inference.kind == "joint":
        white = method.inference.residual == "white"
        penalty = method.prior.residual_penalty(*data.size, white=white, like=data.y)
    return Energy(data, lambda z: latent_prior.decode(method, z, *data.size), penalty)


@pytest.mark.parametrize(("kind", "residual"), KINDS)
@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_the_gradient_equals_finite_differences(operator, boundary, kind, residual):
    """In z, with x at its best for every z; and the gradient in x is 0 there."""
    method = make(kind=kind, residual=residual)
    energy = energy_of(method, *measured(operator, boundary))
    places = -(-energy.data.size[0] // 4)
    z = torch.randn(1, 2, 4, places, places, dtype=torch.float64)
    point, gradient = energy.at(z)
    along, h = torch.randn_like(z), 1e-5
    ahead, behind = (energy.at(z + sign * h * along)[0].energy for sign in (1, -1))
    slope = (gradient * along).flatten(2).sum(2)
    torch.testing.assert_close((ahead - behind) / (2 * h), slope, rtol=1e-4, atol=1e-4)
    if kind == "joint":
        x = point.x[0].requires_grad_()
        value, _ = energy.terms(x, energy.decode(z[0]).detach(), z[0])
        (left,) = torch.autograd.grad(value.sum(), x)
        scale = (energy.data.back / energy.data.sigma**2).norm()
        assert float(left.norm() / scale) < 1e-6  # kernels are kept in float32


@pytest.mark.parametrize(("kind", "residual"), KINDS)
def test_the_search_goes_down_from_every_start(kind, residual):
    method = make(kind=kind, residual=residual, iterations=30, restarts=3, step=0.1)
    *_, last = found = list(latent_prior.points(method, *measured()))
    assert bool((last.energy < found[0].energy).all())
    assert last.energy.shape == (3, 2)
    best = last.best()
    torch.testing.assert_close(best.energy[0], last.energy.amin(0), rtol=0, atol=0)
    for image, restart in enumerate(last.energy.argmin(0)):
        assert torch.equal(best.x[0, image], last.x[restart, image])


def test_an_image_stays_in_the_range_and_leaves_it_only_jointly():
    z = torch.randn(1, 2, 4, 6, 6).double()
    for kind in ("latent", "joint"):
        method = make(kind=kind)
        point, _ = energy_of(method, *measured()).at(z)
        made = latent_prior.decode(method, z[0], 24, 24)
        assert torch.allclose(point.x[0], made, atol=1e-6) == (kind == "latent")


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_a_seed_decides_all_that_is_drawn(name):
    """0 is a seed; what is drawn is the same for every image, in any batch and order."""
    first = torch.zeros(3, 4, 5, 6)
    drawn = {s: starts(first, Inference(restarts=3, seed=s)) for s in (0, 1)}
    assert torch.equal(drawn[0], starts(first, Inference(restarts=3, seed=0)))
    assert not torch.equal(drawn[0][1:], drawn[1][1:])
    assert not torch.equal(drawn[0][1], drawn[0][2])
    assert torch.equal(drawn[0][:, :1], starts(first[:1], Inference(restarts=3, seed=0)))
    y, physics = measured()
    method = make(name, iterations=3, restarts=3)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    found = method(y, physics)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(found, method(y, physics))


def test_latents_of_an_autoencoder_are_made_normal():
    prior = make("autoencoder").prior
    codes = [torch.randn(4, 30, 30) * torch.tensor([3, 1, 0.1, 2])[:, None, None] + 1]
    codes[0][1] += 0.8 * codes[0][0]
    prior.learn_latents(codes)
    z = prior.whitened(codes[0][None])
    torch.testing.assert_close(prior.coloured(z)[0], codes[0], rtol=0, atol=1e-4)
    flat = z[0].flatten(1)
    torch.testing.assert_close(torch.cov(flat), torch.eye(4), rtol=0, atol=1e-2)
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), rtol=0, atol=1e-4)
