"""Every optimiser: its formula, step by step, and what weight decay leaves alone."""

from typing import get_args

import pytest
import torch
from torch import nn

from challenge.configs.schema.training import Optimiser, TrainConfig
from challenge.methods.training.mixed_precision import plugin
from challenge.methods.training.muon import orthogonal
from challenge.methods.training.optimisers import BETA_2, build, running_mean

LR, DECAY, MU = 0.1, 0.05, 0.9


class Line(nn.Module):
    """w x + b with the gradient (x, 1)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))

    def forward(self, x):
        return (self.weight * x + self.bias).sum()


def run(gradients, **values):
    """Weight and bias after steps whose gradient with respect to the weight is given."""
    line = Line()
    optimiser = build(line, TrainConfig(steps=1, lr=LR, momentum=MU, **values))
    for gradient in gradients:
        line(gradient).backward()
        optimiser.step()
        optimiser.zero_grad()
    return line.weight.item(), line.bias.item()


def sgd(start, gradients, decay, nesterov):
    w, v = start, None
    for g in gradients:
        g = g + decay * w
        v = g if v is None else MU * v + g
        w -= LR * (g + MU * v if nesterov else v)
    return w


def adam(start, gradients, decay, decoupled):
    w, m, s = start, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            w -= LR * decay * w
        else:
            g = g + decay * w
        m, s = MU * m + (1 - MU) * g, BETA_2 * s + (1 - BETA_2) * g * g
        w -= LR * (m / (1 - MU**t)) / ((s / (1 - BETA_2**t)) ** 0.5 + 1e-8)
    return w


GRADIENTS = [1.0, -0.5, 2.0, 0.3]


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize(
    ("values", "formula"),
    [
        ({"optimiser": "sgd"}, lambda w, g, d: sgd(w, g, d, False)),
        ({"optimiser": "sgd", "nesterov": True}, lambda w, g, d: sgd(w, g, d, True)),
        ({"optimiser": "adam"}, lambda w, g, d: adam(w, g, d, False)),
        ({"optimiser": "adamw"}, lambda w, g, d: adam(w, g, d, True)),
    ],
    ids=["sgd", "nesterov", "adam", "adamw"],
)
def test_an_optimiser_is_its_formula(values, formula, decay):
    weight, bias = run(GRADIENTS, weight_decay=decay, **values)
    assert weight == pytest.approx(formula(2.0, GRADIENTS, decay), rel=1e-9)
    # A bias does not decay.
    assert bias == pytest.approx(formula(3.0, [1.0] * 4, 0.0), rel=1e-9)


def several_steps(optimiser, parameter, gradients):
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5)])
def test_muon_on_a_matrix_is_that_of_torch(shape):
    torch.manual_seed(0)
    layer, gradients = nn.Linear(*shape, bias=False), torch.randn(3, *reversed(shape))
    start = layer.weight.detach().clone()
    train = TrainConfig(steps=1, optimiser="muon", lr=LR, momentum=MU, weight_decay=DECAY)
    found = several_steps(build(layer, train), layer.weight, gradients)
    matrix = nn.Parameter(start)
    knobs = {"lr": LR, "momentum": MU, "weight_decay": DECAY, "adjust_lr_fn": "match_rms_adamw"}
    torch.testing.assert_close(
        found, several_steps(torch.optim.Muon([matrix], **knobs), matrix, gradients)
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_takes_a_kernel_for_a_matrix(memory_format):
    torch.manual_seed(0)
    layer, line = nn.Conv2d(2, 4, 3, bias=False), nn.Linear(18, 4, bias=False)
    layer = layer.to(memory_format=memory_format)
    gradients = torch.randn(3, 4, 2, 3, 3)
    with torch.no_grad():
        line.weight.copy_(layer.weight.flatten(1))
    train = TrainConfig(steps=1, optimiser="muon", lr=LR)
    kernel = several_steps(build(layer, train), layer.weight, gradients)
    matrix = several_steps(build(line, train), line.weight, gradients.flatten(2))
    torch.testing.assert_close(kernel.flatten(1), matrix)


def test_what_is_no_weight_of_a_layer_muon_moves_as_adamw_does():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.spectrum = nn.Parameter(torch.ones(2, 3))

    both = [Mixed(), Mixed()]
    both[1].load_state_dict(both[0].state_dict())
    for module, name in zip(both, ("muon", "adamw"), strict=True):
        made = build(module, TrainConfig(steps=1, optimiser=name, lr=LR, weight_decay=DECAY))
        for size in (1.0, 3.0):
            (size * (module.layer(torch.ones(1, 2)).sum() + module.spectrum.sum())).backward()
            made.step()
            assert all(each.grad is not None for each in module.parameters())
    for name in ("layer.bias", "spectrum"):
        assert torch.equal(*(each.state_dict()[name] for each in both)), name
    assert not torch.equal(*(each.layer.weight for each in both))


def test_orthogonal_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((6, 40), (40, 6), (12, 12)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values[:-1].min()) > 0.4 and float(values.max()) < 1.5, shape
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_weight_decay_is_for_kernels_and_matrices_only():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    groups = build(net, TrainConfig(steps=1, weight_decay=DECAY)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(decays) == len(list(net.parameters()))
    for name, parameter in net.named_parameters():
        kernel = name in ("0.weight", "2.weight")
        assert decays[id(parameter)] == (DECAY if kernel else 0.0), name


@pytest.mark.parametrize("name", get_args(Optimiser))
def test_gradients_of_fp16_can_be_clipped_before_the_optimiser_sees_them(name):
    made = build(Line(), TrainConfig(steps=1, optimiser=name), scaled=True)
    assert not getattr(made, "_step_supports_amp_scaling", False)


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler")
@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled")
@pytest.mark.parametrize(
    ("named", "scales"), [("16-mixed", True), ("bf16-mixed", False), ("32-true", False)]
)
def test_gradients_are_scaled_in_fp16_alone(named, scales):
    """What the training loop asks of the session."""
    device = torch.device("cuda" if scales else "cpu")
    assert (getattr(plugin(named, device), "scaler", None) is not None) == scales


def test_the_running_mean_is_its_recursion_and_not_the_raw_weights():
    line = Line()
    mean = running_mean(line, 0.99)
    expected, decay = None, 0.99
    for t in range(40):
        with torch.no_grad():
            line.weight.fill_(float(t**0.5))
        mean.update_parameters(line)
        d = min(decay, (1 + t) / (10 + t))
        raw = line.weight.item()
        expected = raw if expected is None else d * expected + (1 - d) * raw
    assert mean.module.weight.item() == pytest.approx(expected)
    assert abs(expected - line.weight.item()) > 0.2


def test_the_running_mean_averages_the_statistics_of_batch_norm():
    layer = nn.BatchNorm2d(1)
    mean = running_mean(layer, 0.9)
    for value in (0.0, 10.0):
        layer.running_mean.fill_(value)
        mean.update_parameters(layer)
    assert 0 < mean.module.running_mean.item() < 10
    assert mean.module.num_batches_tracked.dtype == torch.int64
