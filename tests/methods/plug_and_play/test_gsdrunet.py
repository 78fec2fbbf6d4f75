"""The laws of `gsdrunet`: D = I - grad g, so its Jacobian is symmetric; and deepinv's weights."""

import deepinv
import pytest
import torch

from challenge.methods import registry
from challenge.methods.plug_and_play.published import gsdrunet_of_deepinv

SIGMA = torch.tensor([0.05, 0.2]).reshape(2, 1, 1, 1)
KNOBS = [
    {},
    {"shuffle": 2, "activation": "softplus"},
    {"blind": True, "activation": "silu", "depth": 0},
    {"channels": 1, "activation": "gelu", "blocks": 2},
]


def build(knobs):
    torch.manual_seed(0)
    small = {"width": 4, "depth": 1, "blocks": 1}
    method = registry.build({"name": "gsdrunet", **small, **knobs}).eval().double()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return method


def images(method, height=9, width=14):
    drawn = torch.rand(2, method.channels, height, width, dtype=torch.float64)
    return drawn, SIGMA.double()


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_residual_is_the_gradient_of_the_potential(knobs):
    method = build(knobs)
    x, sigma = images(method)
    at = x.clone().requires_grad_()
    potential = method.potential(at, sigma)
    assert potential.shape == (2,)
    (gradient,) = torch.autograd.grad(potential.sum(), at)
    with torch.no_grad():
        residual = x - method.denoise(x, sigma)
    assert not residual.requires_grad
    assert gradient.abs().max() > 1e-2
    torch.testing.assert_close(residual, gradient, rtol=1e-10, atol=1e-12)
    # ... and of its differences
    v, h = torch.randn_like(x), 1e-5
    change = (method.potential(x + h * v, sigma) - method.potential(x - h * v, sigma)) / (2 * h)
    torch.testing.assert_close((residual * v).sum((1, 2, 3)), change, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_jacobian_is_symmetric_and_the_same_forward_and_backward(knobs):
    method = build(knobs)
    x, sigma = images(method)
    u, v = torch.randn_like(x), torch.randn_like(x)
    (at, seed) = x.clone().requires_grad_(), u
    (backward,) = torch.autograd.grad(method.denoise(at, sigma), at, seed)
    _, forward = torch.func.jvp(lambda z: method.denoise(z, sigma), (x,), (v,))
    with torch.autograd.forward_ad.dual_level():
        dual = method.denoise(torch.autograd.forward_ad.make_dual(x, v), sigma)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, forward)
    torch.testing.assert_close((u * forward).sum(), (backward * v).sum())
    _, other = torch.func.jvp(lambda z: method.denoise(z, sigma), (x,), (u,))
    torch.testing.assert_close((v * other).sum(), (u * forward).sum())


def test_a_training_differentiates_the_gradient_step():
    """The loss by autograd through autograd, against differences in the weights."""
    method = build({})
    x, sigma = images(method)

    def loss():
        return (method.denoise(x, sigma) - 0.5).square().sum()

    loss().backward()
    steps = {name: torch.randn_like(each) for name, each in method.named_parameters()}
    slope = sum((each.grad * steps[name]).sum() for name, each in method.named_parameters())
    values, h = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            for name, each in method.named_parameters():
                each.add_(steps[name], alpha=sign * h)
        values.append(loss().item())
    assert slope.item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_deepinvs_weights_give_its_images_and_its_potential(channels):
    torch.manual_seed(0)
    widths = (8, 16, 32, 64)
    theirs = deepinv.models.GSDRUNet(
        in_channels=channels, out_channels=channels, nc=widths, nb=2, pretrained=None
    )
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    section = {"name": "gsdrunet", "width": 8, "depth": 3, "blocks": 2, "channels": channels}
    ours = registry.build(section).eval()
    ours.net.load_state_dict(gsdrunet_of_deepinv(theirs.state_dict()))
    x = torch.rand(2, channels, 32, 40)
    potential, wanted = theirs.potential(x, SIGMA), theirs(x.clone(), SIGMA).detach()
    assert (wanted - x).norm() > 1e-2 * x.norm()
    torch.testing.assert_close(ours.potential(x, SIGMA), potential, rtol=1e-4, atol=0)
    assert (ours.denoise(x, SIGMA) - wanted).norm() <= 1e-4 * wanted.norm()
