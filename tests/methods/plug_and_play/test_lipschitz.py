"""The certificate of `lipschitz`: never below what is measured, at any size, level and weights."""

import pytest
import torch

from challenge.methods import registry
from challenge.methods.networks.lipschitz import norm
from challenge.methods.plug_and_play.denoisers import certified, denoise

SIZES = [(1, 1), (5, 8), (13, 12)]
KNOBS = [
    {},
    {"bound": 0.5},
    {"bound": 2.0, "shuffle": 1},
    {"blind": True, "shuffle": 4, "channels": 1},
]


def measured(function, x, rounds=5):
    """A lower bound on the Lipschitz constant at x: power iteration on the Jacobian J^T J."""
    v, found = torch.randn_like(x), 0.0
    for _ in range(rounds):
        v = v / v.norm()
        out, forward = torch.func.jvp(function, (x,), (v,))
        found = max(found, forward.norm().item())
        v = torch.func.vjp(function, x)[1](forward)[0]
        if not v.any():
            break
    return found


def build(knobs):
    torch.manual_seed(0)
    return registry.build({"name": "lipschitz", "width": 6, "blocks": 2, **knobs})


def weights(method, kind):
    """Put weights into a method that make its residual as steep as it can be, or large."""
    for name, parameter in method.net.named_parameters():
        torch.nn.init.normal_(parameter, std=0.1 if kind == "random" else 5.0)
        if kind == "steep" and "blocks" not in name and parameter.ndim == 4:
            parameter.data.zero_()
            torch.nn.init.orthogonal_(parameter.data[:, :, 1, 1])
    return method.eval()


@pytest.mark.parametrize("kind", ["random", "large", "steep"])
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_certificate_is_never_below_what_is_measured(knobs, kind):
    method = weights(build(knobs), kind)
    bounds = certified(method)
    wanted = knobs.get("bound", 1.0)
    assert bounds.residual <= wanted * (1 + 1e-5)
    assert bounds.denoiser == 1 + bounds.residual
    for size, level in zip(SIZES, (0.0, 0.1, 0.2), strict=True):
        x = torch.rand(1, method.channels, *size)

        def residual(z, level=level):
            return z - denoise(method, z, level)

        y = x + 0.1 * torch.randn_like(x)
        ratio = (residual(x) - residual(y)).norm() / (x - y).norm()
        found = max(ratio.item(), measured(residual, x))
        assert found <= bounds.residual * (1 + 1e-4) + 1e-6
    overall = measured(lambda z: denoise(method, z, 0.1), x)
    assert overall <= bounds.denoiser * (1 + 1e-4)


def test_the_certificate_is_reached():
    """Where the blocks are the identity and the ends isometries, R is one."""
    for bound in (0.3, 1.0):
        method = build({"bound": bound, "width": 12})
        for each in method.net.blocks:
            torch.nn.init.zeros_(each.conv.weight)
        weight = method.net.tail.weight
        torch.nn.init.orthogonal_(weight.data[:, :, 1, 1])
        method.eval()
        x = torch.rand(1, 3, 8, 10)
        found = measured(lambda z, method=method: z - denoise(method, z, 0.1), x)
        assert found == pytest.approx(certified(method).residual, rel=1e-2)
        assert found == pytest.approx(bound, rel=1e-2)


def test_the_constraint_outlives_training_and_the_rounding_of_what_is_stored():
    method = build({}).train()
    clean = torch.rand(2, 3, 16, 16)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.3)
    for _ in range(6):
        noisy = clean + 0.1 * torch.randn_like(clean)
        (denoise(method, noisy, 0.1) - clean).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        assert norm(method.net.tail.kernel()) <= 1 + 2e-3
    method.eval()
    assert norm(method.net.tail.weight) > 1  # the constraint binds
    for parameter in method.parameters():
        parameter.data.copy_(parameter.data.half())
    bounds = certified(method)
    x = torch.rand(1, 3, 9, 14)
    found = measured(lambda z: z - denoise(method, z, 0.1), x)
    assert 0 < found <= bounds.residual * (1 + 1e-4) <= 1 + 2e-4


def test_shifted_images_give_shifted_estimates():
    method = weights(build({}), "random")
    x = torch.rand(1, 3, 12, 14)
    moved = denoise(method, x.roll((2, -4), (2, 3)), 0.1)
    torch.testing.assert_close(moved, denoise(method, x, 0.1).roll((2, -4), (2, 3)))


@pytest.mark.parametrize("name", ["drunet", "gsdrunet", "tv"])
def test_other_methods_have_no_certificate(name):
    small = {"width": 4, "depth": 1, "blocks": 1} if name != "tv" else {}
    assert certified(registry.build({"name": name, **small})) is None
