"""Learned Primal-Dual: PDHG is one of its choices, and the operator is the one of the call."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.lpd import LPD
from challenge.methods.networks.architectures import Net
from challenge.methods.solvers.wiener_filter import wiener

BOUNDARIES = ["circular", "valid", "reflect"]


def make(**knobs):
    torch.manual_seed(0)
    net = Net(width=knobs.pop("width", 4), depth=1)
    return LPD(net=net, **{"steps": 3, "dual_width": 4, **knobs})


def measured(boundary="circular", batch=2, side=20):
    problem = toy_problem(boundary=boundary)
    x = torch.stack([toy_images(batch)[n][:, :side, :side] for n in range(batch)])
    return (x, *problem.measure(x, range(batch)))


def wake(method):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return method


def soft(v, threshold=0.02):
    return v.sign() * (v.abs() - threshold).clamp_min(0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_with_exact_proximal_maps_it_is_pdhg(boundary):
    """Chambolle, Pock 2011, algorithm 1: h^(1) is the dual, f^(1) the estimate, f^(2) ahead."""
    _, y, physics = measured(boundary)
    method, y, physics = make(preconditioned=False, steps=6).double(), y.double(), physics.double()
    s, t = 0.7, 0.9

    def dual(k, h, ahead, y):
        q = (h[:, :3] + s * (ahead - y)) / (1 + s)
        return torch.cat([q, h[:, 3:]], 1)

    def primal(k, f, back, sigma):
        x = soft(f[:, :3] - t * back)
        return torch.cat([x, 2 * x - f[:, :3], f[:, 6:]], 1)

    method.dual, method.primal = dual, primal
    with torch.no_grad():
        found = method(y, physics)
        x = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
        w, q = x, physics.A(x) - y
        for _ in range(6):
            q = (q + s * (physics.A(w) - y)) / (1 + s)
            new = soft(x - t * physics.A_adjoint(q))
            x, w = new, 2 * new - x
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_before_training_it_is_the_wiener_estimate(boundary):
    _, y, physics = measured(boundary)
    method = make().eval()
    with torch.no_grad():
        found = method(y, physics)
    assert torch.equal(found, wiener(y, physics, method.wiener.log_spectrum, [1.0])[0])


def test_the_preconditioner_is_a_regularised_inverse():
    """With Gamma and Lambda that pass on, one step is a Newton step of a quadratic problem."""
    _, y, physics = measured()
    method, y, physics = make(steps=1).double(), y.double(), physics.double()
    method.dual = lambda k, h, ahead, y: torch.cat([ahead - y, h[:, 3:]], 1)
    method.primal = lambda k, f, back, sigma: torch.cat([f[:, :3] - back, f[:, 3:]], 1)
    method.log_weight.data.fill_(-20)  # R -> 0: the step goes all the way to the data
    x = method(y, physics)
    assert (physics.A(x) - y).abs().max() < 1e-3
    method.log_weight.data.fill_(20)  # R -> inf: it stays
    start = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
    assert (method(y, physics) - start).abs().max() < 1e-3


def test_the_preconditioner_follows_the_noise_of_each_image():
    """(A^T A + sigma^2 w) B h = A^T h."""
    _, y, physics = measured()
    method, y, physics = make(steps=1).double(), y.double(), physics.double()
    physics.noise_model.sigma = y.new_tensor([0.02, 0.2])
    method.log_weight.data.fill_(1.0)
    seen = []
    method.dual = lambda k, h, ahead, y: h
    method.primal = lambda k, f, back, sigma: seen.append(back) or f
    method(y, physics)
    start = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
    weight = y.new_tensor([0.02, 0.2]).square().reshape(2, 1, 1, 1) * y.new_tensor(1.0).exp()
    left = physics.A_adjoint(physics.A(seen[0])) + weight * seen[0]
    right = physics.A_adjoint(physics.A(start) - y)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_checkpointed_gradients_are_the_plain_ones():
    x, y, physics = measured()
    gradients = []
    for checkpoint in (False, True):
        method = wake(make(checkpoint=checkpoint)).train()
        (method(y, physics) - x).square().mean().backward()
        gradients.append([parameter.grad for parameter in method.parameters()])
    # The last dual is read, every network has a gradient.
    assert all(each is not None and each.abs().max() > 0 for each in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-9)


def test_training_improves_on_the_wiener_estimate():
    method, session = make(width=8), ToySession()
    train = TrainConfig(steps=60, batch=4, patch=32, tune=2, evaluate=20, lr=1e-3)
    method.fit(toy_problem(), toy_images(8), train, session)
    quality = [line["psnr"] for line in session.lines if "psnr" in line]
    assert quality[-1] > quality[0] + 0.1


def test_a_net_that_diverges_says_so():
    _, y, physics = measured()
    method = make(steps=8).eval()
    method.primal = lambda k, f, back, sigma: 30 * f
    with pytest.raises(UserError, match=r"step \d of the primal-dual algorithm.*it diverges"):
        method(y, physics)
