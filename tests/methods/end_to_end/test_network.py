"""The network: starts from Wiener, takes any image, the same in batches and in bfloat16."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.network import BASE, STRENGTHS, Network
from challenge.methods.networks.architectures import ARCHITECTURES, Net
from challenge.methods.networks.unet import UNet
from challenge.methods.solvers.wiener_filter import wiener
from challenge.methods.training import precision
from challenge.methods.training.precision import UNKNOWN, autocast, for_fabric, halve, uses_bf16

CPU = torch.device("cpu")


def small(**knobs):
    """A network that does something: the zero layer at its end drawn at random."""
    torch.manual_seed(0)
    net = {"width": 8, "depth": 1, "blocks": 1}
    net |= {name: knobs.pop(name) for name in [*knobs] if name in Net.model_fields}
    method = Network(net=Net(**net), **{"precision": "float32", **knobs}).eval()
    torch.nn.init.normal_(method.net.tail.weight, std=0.01)
    return method


def measured(count=1, height=40, width=40, channels=3, boundary="circular"):
    problem = toy_problem(channels, boundary)
    images = toy_images(count, channels, max(height, width))
    x = torch.stack([image[:, :height, :width] for image in images])
    return x, *problem.measure(x, range(count))


@torch.no_grad()
def run(method, y, physics):
    return method(y, physics)


@pytest.mark.parametrize("channels", [1, 3])
def test_training_starts_from_the_wiener_estimate(channels):
    method = Network(net=Net(width=8, depth=1), channels=channels).eval()
    _, y, physics = measured(2, channels=channels)
    expected = wiener(y, physics, method.wiener.log_spectrum, STRENGTHS)[BASE]
    assert torch.equal(run(method, y, physics), expected)


@pytest.mark.parametrize("boundary", ["valid", "reflect"])
def test_away_from_the_border_it_is_the_wiener_estimate_of_any_boundary(boundary):
    method = Network(net=Net(width=8, depth=1)).eval()
    _, y, physics = measured(2, 96, 88, boundary=boundary)
    expected = wiener(y, physics, method.wiener.log_spectrum, STRENGTHS)[BASE]
    found = run(method, y, physics)
    assert found.shape == expected.shape
    inner = (slice(24, -24), slice(24, -24))
    difference = (found - expected)[..., *inner].square().mean().sqrt()
    # Far less than if it were misplaced by a pixel.
    shifted = (expected.roll(1, -1) - expected)[..., *inner].square().mean().sqrt()
    assert difference < 0.1 * shifted
    assert difference < 0.005


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(5, 70),
    width=st.integers(5, 70),
    depth=st.integers(0, 3),
    shuffle=st.sampled_from([1, 2, 4]),
)
def test_every_image_size_is_accepted(height, width, depth, shuffle):
    _, y, physics = measured(1, height, width)
    x_hat = run(small(depth=depth, shuffle=shuffle), y, physics)
    assert x_hat.shape == (1, 3, height, width)
    assert x_hat.isfinite().all()


def test_the_border_is_continued_where_the_size_does_not_fit():
    net = small().net
    x = torch.rand(1, 10, 30, 29)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 3, 0, 2), mode="replicate")
        torch.testing.assert_close(net(x), net(padded)[..., :30, :29])


@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 1e-5), ("bf16", 1e-2)])
def test_a_batch_is_its_images_one_by_one(kind, tolerance):
    method, problem = small(precision=kind), toy_problem()
    x, y, physics = measured(3)
    together = run(method, y, physics)
    for n in range(3):
        single = run(method, *problem.measure(x[n : n + 1], [n]))
        torch.testing.assert_close(together[n], single[0], atol=tolerance, rtol=0)


def test_weights_and_spectrum_travel_together():
    method = small()
    method.wiener.log_spectrum += 0.5
    other = Network(net=Net(width=8, depth=1, blocks=1), precision="float32").eval()
    other.load_state_dict(load(save({k: v.contiguous() for k, v in method.state_dict().items()})))
    _, y, physics = measured()
    assert torch.equal(run(method, y, physics), run(other, y, physics))


def test_bfloat16_is_within_a_hundredth_of_a_decibel():
    method = small(width=16, depth=2)
    # A residual of about 0.05, as trained networks have it.
    torch.nn.init.normal_(method.net.tail.weight, std=1e-3)
    x, y, physics = measured(4, 64, 64)
    exact = run(method, y, physics)
    method.compute.wanted = "bf16"
    rounded = run(method, y, physics)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)

    def psnr(x_hat):
        return -10 * math.log10((x_hat - x).square().mean())

    assert abs(psnr(exact) - psnr(rounded)) < 0.01


def fitted(seed, ambient):
    torch.manual_seed(ambient)
    method = Network(net=Net(width=8, depth=1, blocks=1))
    train = TrainConfig(steps=2, batch=1, patch=24, tune=1, evaluate=2)
    method.fit(toy_problem(), toy_images(), train, ToySession(seed))
    return method.net.head.weight


def test_the_seed_alone_decides_the_start():
    # Whatever was drawn before.
    first = fitted(1, ambient=0)
    assert torch.equal(first, fitted(1, ambient=5))
    assert not torch.equal(first, fitted(2, ambient=0))


def test_fit_learns_the_spectrum_of_the_images():
    method = Network(net=Net(width=8, depth=1))
    before = method.wiener.log_spectrum.clone()
    train = TrainConfig(steps=1, batch=1, patch=24, tune=1, evaluate=1)
    method.fit(toy_problem(), toy_images(), train, ToySession())
    assert not torch.allclose(method.wiener.log_spectrum, before, atol=0.1)


def test_the_wrong_number_of_channels_is_said_with_the_remedy():
    _, y, physics = measured(channels=1)
    with pytest.raises(UserError, match=r"`method.channels=1`"):
        run(small(), y, physics)
    train = TrainConfig(steps=1)
    with pytest.raises(UserError, match=r"`method.channels=1`"):
        small().fit(toy_problem(1), toy_images(channels=1), train, ToySession())


def test_the_default_has_about_a_million_weights():
    count = sum(parameter.numel() for parameter in Network().parameters())
    assert 0.5e6 < count < 2e6


def test_a_new_unet_is_zero_and_channels_last():
    net = UNet(4, 2, width=8)
    assert not net(torch.rand(1, 4, 16, 16)).any()
    assert net.bottom[0].first.weight.is_contiguous(memory_format=torch.channels_last)


def test_precision_follows_the_hardware(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert uses_bf16("auto", CPU)
    assert for_fabric("auto", CPU) == "bf16-mixed"
    assert for_fabric("fp16", torch.device("cuda")) == "16-mixed"
    assert not uses_bf16("float32", CPU)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert not uses_bf16("auto", CPU)
    assert uses_bf16("bf16", CPU)
    assert for_fabric("auto", CPU) == "32-true"
    assert not uses_bf16("auto", torch.device("meta"))


@pytest.mark.parametrize(("kind", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_the_chosen_precision(kind, dtype):
    layer = torch.nn.Conv2d(1, 1, 3)
    with autocast(kind, CPU):
        assert layer(torch.rand(1, 1, 5, 5)).dtype == dtype


# What fewer bits cost decides whether they are used


def of_cost(cost):
    method = small(precision="auto")
    method.compute.bf16_cost.fill_(cost)
    return method


def test_auto_is_bfloat16_only_where_hardware_and_measured_cost_allow_it(monkeypatch):
    exact, rounded = small(), small(precision="bf16")
    _, y, physics = measured()
    expected = {False: run(exact, y, physics), True: run(rounded, y, physics)}
    assert not torch.equal(expected[False], expected[True])
    for has, cost, fast in (
        (True, 0.0, True),
        (True, 0.01, True),
        (True, 0.011, False),
        (True, UNKNOWN, False),
        (False, 0.0, False),
    ):
        # The judge's machine is asked again, whatever the team's machine had.
        monkeypatch.setattr(precision, "cpu_has_bf16", lambda has=has: has)
        assert torch.equal(run(of_cost(cost), y, physics), expected[fast]), (has, cost)


def test_the_cost_is_measured_by_fit_and_travels_with_the_weights():
    method = Network(net=Net(width=8, depth=1))
    train = TrainConfig(steps=3, batch=2, patch=24, tune=2, evaluate=3)
    session = ToySession()
    method.fit(toy_problem(), toy_images(5), train, session)
    assert method.compute.bf16_cost.item() == pytest.approx(
        max(0.0, session.lines[-1]["bf16_cost"])
    )
    other = Network(net=Net(width=8, depth=1))
    other.load_state_dict(method.state_dict())
    assert other.compute.bf16_cost == method.compute.bf16_cost >= 0


@pytest.mark.parametrize(("cost", "rounded"), [(0.0, True), (0.0099, True), (0.0101, False)])
def test_weights_are_rounded_where_that_costs_next_to_nothing(cost, rounded):
    layer = torch.nn.Linear(7, 5)
    before = layer.weight.clone()
    values = iter([30.0, 30.0 - cost])
    assert halve(layer, lambda: next(values)) == pytest.approx(cost)
    assert torch.equal(layer.weight, before.half().float() if rounded else before)


def test_weights_that_float16_cannot_hold_are_not_rounded():
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, 1e6)
    values = iter([30.0, math.nan])
    halve(layer, lambda: next(values))
    assert layer.weight.item() == 1e6


# The categorical head


def test_a_categorical_head_starts_near_the_wiener_estimate():
    method = Network(net=Net(width=8, depth=1), bins=64).eval()
    x, y, physics = measured(2)
    expected = wiener(y, physics, method.wiener.log_spectrum, STRENGTHS)[BASE]
    inside = (expected > 0.15) & (expected < 0.85)
    assert (run(method, y, physics) - expected)[inside].abs().max() < 5e-3
    assert (run(method, y, physics) - x).square().mean() <= (expected - x).square().mean()
    assert method.logits(y, physics).shape == (2, 3, 64, 40, 40)


def test_cross_entropy_without_a_categorical_head_is_refused():
    train = TrainConfig(steps=1, loss="cross_entropy")
    with pytest.raises(UserError, match=r"`method.bins=64`"):
        small().fit(toy_problem(), toy_images(), train, ToySession())


def test_a_categorical_head_of_complex_images_is_refused():
    """Its intensities are from 0 to 1; nor is it asked for by the loss."""
    with pytest.raises(UserError, match=r"`method.bins`: .* parts of complex images are not"):
        Network(net=Net(width=8, depth=1), channels=2, bins=64)
    train = TrainConfig(steps=1, loss="cross_entropy")
    with pytest.raises(UserError, match="needs a categorical head; give another loss"):
        Network(net=Net(width=8, depth=1), channels=2).fit(
            toy_problem(operator="mri"), toy_images(channels=2), train, ToySession()
        )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_starts_from_the_wiener_estimate(architecture):
    method = Network(net=Net(architecture=architecture)).eval()
    _, y, physics = measured(1)
    expected = wiener(y, physics, method.wiener.log_spectrum, STRENGTHS)[BASE]
    assert torch.equal(run(method, y, physics), expected)
