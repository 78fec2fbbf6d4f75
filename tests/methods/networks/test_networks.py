"""Every architecture and every part of one: sizes, gradients, laws, and what is switched off."""

import itertools
from inspect import signature

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from challenge.configs.reader.messages import complaints
from challenge.methods.end_to_end.network import Network
from challenge.methods.networks import layers
from challenge.methods.networks.architectures import ARCHITECTURES, Net
from challenge.methods.networks.costs import describe, macs, receptive_field

SMALL = {
    "mlp": {"width": 8, "depth": 2, "window": 6, "patch": 2},
    "cnn": {"width": 6, "depth": 2},
    "resnet": {"width": 6, "depth": 2},
    "unet": {"width": 4, "depth": 1, "blocks": 1},
}
NORMALISATIONS = ("none", "batch", "group", "layer")
CONVOLUTIONAL = ("cnn", "resnet", "unet")


def build(architecture, seed=0, **knobs):
    """A small network that does something: its last layer, zero at first, drawn at random."""
    torch.manual_seed(seed)
    net = ARCHITECTURES[architecture](4, 3, **{**SMALL[architecture], **knobs}).eval()
    nn.init.normal_(net.tail.weight, std=0.1)
    return net


def picture(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def difference(a, b):
    return (a - b).detach().abs().max().item()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=12, deadline=None)
@given(height=st.integers(3, 50), width=st.integers(3, 50))
def test_any_image_size_is_mapped_to_the_same_size(architecture, height, width):
    with torch.no_grad():
        out = build(architecture)(picture(2, 4, height, width))
    assert out.shape == (2, 3, height, width)
    assert out.isfinite().all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_network_is_zero_and_channels_last(architecture):
    net = ARCHITECTURES[architecture](4, 3, **SMALL[architecture])
    assert not net(picture(1, 4, 20, 20)).any()
    kernels = [p for p in net.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels)


KNOBS = [
    *({"activation": name} for name in layers.ACTIVATIONS),
    *({"normalisation": name} for name in NORMALISATIONS),
    {"bias_free": True},
    {"dropout": 0.3},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_finite_differences(architecture, knobs):
    net = build(architecture, **knobs).double()
    x = picture(2, 4, 8, 8).double().requires_grad_()
    parameters = [p for p in net.parameters() if p.numel() < 200]
    assert torch.autograd.gradcheck(
        lambda x, *_: net(x), (x, *parameters), fast_mode=True, atol=1e-6
    )


@pytest.mark.parametrize("pooling", ["max", "average", "strided"])
def test_gradients_through_pooling(pooling):
    net = build("unet", pooling=pooling).double()
    x = picture(1, 4, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(net, (x,), fast_mode=True, atol=1e-6)


FORMULAS = {
    "relu": lambda x: x.clamp_min(0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
}


@pytest.mark.parametrize("name", layers.ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(layers.activation(name)(x), FORMULAS[name](x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_activation_makes_another_network(architecture):
    x = picture(1, 4, 16, 16)
    nets = {name: build(architecture, activation=name) for name in layers.ACTIVATIONS}
    weights = nets["relu"].state_dict()
    found = {}
    for name, net in nets.items():
        net.load_state_dict(weights)
        found[name] = net(x)
    for a, b in itertools.combinations(found, 2):
        assert difference(found[a], found[b]) > 1e-4, (a, b)


@pytest.mark.parametrize(
    ("name", "axes", "shape"),
    [
        # batch: over images and pixels; group: 8 groups of 2 channels; layer: over channels.
        ("batch", (0, 2, 3), (5, 16, 12, 12)),
        ("group", (2, 3, 4), (5, 8, 2, 12, 12)),
        ("layer", (1,), (5, 16, 12, 12)),
    ],
)
def test_a_normalisation_has_mean_0_and_variance_1_over_its_axes(name, axes, shape):
    layer = layers.normalisation(name, 16).train()
    y = layer(3 + 5 * picture(5, 16, 12, 12)).reshape(shape)
    assert y.mean(axes).abs().max() < 1e-5
    torch.testing.assert_close(
        y.var(axes, correction=0), torch.ones(()).expand_as(y.mean(axes)), atol=1e-3, rtol=0
    )


def test_batch_norm_uses_running_statistics_at_inference():
    layer = layers.normalisation("batch", 2).train()
    for seed in range(200):
        layer(3 + 5 * picture(8, 2, 6, 6, seed=seed))
    layer.eval()
    x = picture(1, 2, 4, 4)
    torch.testing.assert_close(layer(x), (x - 3) / 5, atol=0.1, rtol=0)


@pytest.mark.parametrize("name", NORMALISATIONS[1:])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_normalisation_changes_the_network_and_is_used_everywhere(architecture, name):
    kinds = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "layer": layers.LayerNorm}
    net = build(architecture, normalisation=name)
    found = [module for module in net.modules() if isinstance(module, kinds[name])]
    count = {"mlp": 2, "cnn": 2, "resnet": 4, "unet": 6}
    assert len(found) == count[architecture]
    x, before = picture(1, 4, 16, 16), net(picture(1, 4, 16, 16))
    for layer in found:
        inner = layer.inner if isinstance(layer, layers.LayerNorm) else layer
        nn.init.constant_(inner.weight, 0.5)
    assert difference(net(x), before) > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_off_at_inference(architecture):
    net, x = build(architecture, dropout=0.5), picture(2, 4, 16, 16)
    other = build(architecture, dropout=0.0)
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(x), other(x))
    net.train()
    assert difference(net(x), net(x)) > 1e-3


def test_dropout_keeps_the_mean_and_drops_whole_channels():
    torch.manual_seed(0)
    layer = layers.dropout(0.25).train()
    y = layer(torch.ones(4000, 4, 2, 2))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(y.amax((2, 3)), y.amin((2, 3)))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bias_free_rectifier_network_is_homogeneous(architecture, activation):
    x = picture(1, 4, 16, 16)
    free = build(architecture, bias_free=True, activation=activation)
    torch.testing.assert_close(free(3 * x), 3 * free(x), atol=1e-5, rtol=1e-4)
    biased = build(architecture, activation=activation)
    for parameter in biased.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    assert difference(biased(3 * x), 3 * biased(x)) > 1e-2


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bias_free_network_adds_no_constant(architecture, normalisation):
    net = build(architecture, bias_free=True, normalisation=normalisation)
    names = [name for name, _ in net.named_parameters() if name.endswith("bias")]
    assert names == []
    assert not net.train()(torch.zeros(2, 4, 8, 8)).any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shifted_image_gives_the_shifted_output(architecture):
    net = build(architecture).double()
    x, step = picture(1, 4, 96, 96).double(), net.multiple
    margin = receptive_field(net, 4) // 2 + 2 * step
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    moved = net(x.roll((step, step), (2, 3))).roll((-step, -step), (2, 3))
    torch.testing.assert_close(moved[inner], net(x)[inner])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_size_that_does_not_fit_is_continued_by_the_last_pixel(architecture):
    net, x = build(architecture), picture(1, 4, 21, 23)
    padding = (0, -23 % net.multiple, 0, -21 % net.multiple)
    padded = nn.functional.pad(x, padding, mode="replicate")
    torch.testing.assert_close(net(x), net(padded)[..., :21, :23])


def test_pooling_is_what_it_is_called():
    torch.manual_seed(0)
    x = picture(1, 4, 8, 8)
    nets = {name: build("unet", pooling=name) for name in ("max", "average", "strided")}
    blocks = x.unfold(2, 2, 2).unfold(3, 2, 2)
    expected = {"max": blocks.amax((-2, -1)), "average": blocks.mean((-2, -1))}
    for name, net in nets.items():
        if name in expected:
            torch.testing.assert_close(net.down[0][0](x), expected[name])
    assert nets["strided"].down[0].stride == (2, 2)
    a, b = (nets[name](x) for name in ("max", "average"))
    assert difference(a, b) > 1e-4


# What a network costs and how far it sees


@pytest.mark.parametrize(("depth", "shuffle"), [(0, 1), (1, 1), (3, 1), (0, 2), (3, 2), (2, 4)])
def test_facts_of_a_plain_network_in_closed_form(depth, shuffle):
    net = ARCHITECTURES["cnn"](4, 3, width=6, depth=depth, shuffle=shuffle)
    sizes = [4 * shuffle**2, *[6] * depth, 3 * shuffle**2]
    weights = sum(9 * a * b for a, b in itertools.pairwise(sizes))
    facts = describe(net, 4)
    assert facts.parameters == weights + sum(sizes[1:])
    assert facts.macs_per_pixel == weights // shuffle**2
    assert facts.receptive_field == (2 * (depth + 1) + 1) * shuffle


def test_facts_of_a_perceptron_in_closed_form():
    facts = describe(ARCHITECTURES["mlp"](4, 3, width=10, depth=2, window=8, patch=2), 4)
    assert facts.parameters == 4 * 64 * 10 + 10 + 10 * 10 + 10 + 10 * 12 + 12
    assert facts.macs_per_pixel == (4 * 64 * 10 + 10 * 10 + 10 * 12) // 4
    assert facts.receptive_field == 8


@pytest.mark.parametrize("pooling", ["max", "average", "strided"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_receptive_field_holds_for_every_pixel_and_is_reached(architecture, pooling):
    knobs = {"pooling": pooling} if architecture == "unet" else {}
    # A smooth activation: all that is seen has a derivative that is not zero.
    net = build(architecture, activation="softplus", **knobs).double()
    field = receptive_field(net, 4)
    x = picture(1, 4, 96, 96).double().requires_grad_()
    widest = 0
    for row in range(48, 48 + net.multiple):
        (gradient,) = torch.autograd.grad(net(x)[0, :, row, 48].sum(), x)
        rows = gradient[0].abs().amax((0, 2)).nonzero().flatten()
        widest = max(widest, int(rows.max() - rows.min()) + 1)
    if pooling == "max":  # of 2x2 pixels only the largest has a derivative
        assert field - 2 * net.multiple <= widest <= field
    else:
        assert widest == field


def test_group_normalisation_sees_the_whole_image():
    assert receptive_field(build("cnn", normalisation="group"), 4) is None
    assert receptive_field(build("cnn", normalisation="batch"), 4) == 14


def test_multiplications_are_counted_without_computing():
    # Without memory for its weights, a network cannot compute.
    with torch.device("meta"):
        net = ARCHITECTURES["cnn"](4, 3, width=4000, depth=3)
    assert macs(net, 4) > 1e12


# The method's knobs


@pytest.mark.parametrize(
    ("architecture", "knob"),
    [
        ("unet", {"window": 8}),
        ("cnn", {"blocks": 2}),
        ("mlp", {"shuffle": 2}),
        ("resnet", {"pooling": "max"}),
    ],
)
def test_a_knob_of_another_architecture_is_refused(architecture, knob):
    name = next(iter(knob))
    with pytest.raises(ValidationError) as error:
        Net(architecture=architecture, **knob)
    found = complaints(error.value, Net)
    assert [each.key for each in found] == [(name,)]
    assert found[0].words == f"is not a knob of `architecture: {architecture}`"
    assert "it has `width`, `depth`" in found[0].remedy


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_knob_reaches_the_network(architecture):
    plain = Network(net=Net(architecture=architecture))
    wide = Network(net=Net(architecture=architecture, width=12, depth=1))
    assert sum(p.numel() for p in wide.parameters()) != sum(p.numel() for p in plain.parameters())
    free = Network(net=Net(architecture=architecture, bias_free=True))
    assert free.facts()["parameters"] < plain.facts()["parameters"]


def test_every_knob_of_an_architecture_is_one_of_the_section():
    known = set(Net.model_fields) - {"architecture"}
    for architecture in ARCHITECTURES.values():
        assert {*signature(architecture).parameters} - {"in_channels", "out_channels"} <= known


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="does not lie around a patch"):
        Net(architecture="mlp", window=7)
    assert Net(architecture="mlp", window=8).window == 8


def test_an_architecture_need_not_have_every_knob(monkeypatch):
    """One without dropout or normalisation is built with the other defaults, and refuses these."""

    class Plain(nn.Module):
        def __init__(self, out_channels, in_channels, width=3):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, out_channels, width, padding=width // 2)

    monkeypatch.setitem(ARCHITECTURES, "cnn", Plain)
    built = Net(architecture="cnn", width=5).build(2, 1)
    assert built.conv.weight.shape == (1, 2, 5, 5)
    assert Net(architecture="cnn").build(2, 1).conv.weight.shape == (1, 2, 3, 3)
    with pytest.raises(ValidationError, match="dropout"):
        Net(architecture="cnn", dropout=0.1)
