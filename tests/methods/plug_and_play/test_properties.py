"""What is measured of denoisers, against maps of which it is known."""

import pytest
import torch
from torch import nn

from challenge.data.physics import families
from challenge.methods.plug_and_play import properties
from challenge.methods.plug_and_play.drunet import DRUNet
from challenge.methods.plug_and_play.properties import MAPS
from challenge.methods.plug_and_play.stationary import Stationary
from challenge.methods.solvers import jacobian
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.jacobian import Jacobian
from challenge.submissions.reports.facts import closed

IMAGE = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LEVEL = 0.1


def smooth(x):
    """A circular mean over three columns: symmetric, eigenvalues (1 + 2 cos t) / 3."""
    return (x + x.roll(1, -1) + x.roll(-1, -1)) / 3


def shifted(x):
    """Norm 1, not symmetric."""
    return 0.9 * x.roll(1, -1)


def net(bias, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1, bias=bias)).requires_grad_(False)


def measure(denoiser, **options):
    return properties.measure(denoiser, IMAGE, LEVEL, "0001", **options)


def test_a_linear_symmetric_map():
    found = measure(smooth)
    assert found.differentiable
    expected = {"D": 1, "I - D": 4 / 3, "2D - I": 5 / 3}
    for name in MAPS:
        assert set(found.norms[name]) == {"data", "noise", "adversarial"}
        assert found.lower(name) == pytest.approx(expected[name], rel=1e-2)
    assert found.asymmetry < 1e-5
    assert found.homogeneity < 1e-3
    assert found.least == pytest.approx(-1 / 3, abs=1e-2)
    assert found.radius == pytest.approx(1, rel=1e-2)


def test_a_map_that_is_not_symmetric():
    found = measure(shifted)
    assert found.asymmetry > 0.5
    assert found.lower("D") == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize("bias", [False, True])
def test_rectifiers_are_homogeneous_without_biases_only(bias):
    found = measure(net(bias), steps=4)
    assert (found.homogeneity < 1e-3) is not bias


def test_a_network_that_is_told_the_level_is_not_homogeneous_at_a_fixed_level():
    """Without a bias: D(c x, c s) = c D(x, s), and not at one s."""
    torch.manual_seed(0)
    blind, told = (
        DRUNet(width=8, depth=1, blocks=1, blind=blind).eval() for blind in (True, False)
    )
    level = torch.full((1, 1, 1, 1), LEVEL)
    assert properties.homogeneity(lambda x: blind.denoise(x, level), IMAGE) < 1e-3
    assert properties.homogeneity(lambda x: told.denoise(x, level), IMAGE) > 1e-3


def test_what_has_no_derivative_is_measured_by_differences():
    found = measure(lambda x: torch.from_numpy(smooth(x.detach()).numpy()), steps=6)
    assert not found.differentiable
    assert (found.asymmetry, found.least, found.radius) == (None, None, None)
    assert 0.7 < found.lower("D") <= 1 + 1e-4
    assert found.lower("I - D") <= 4 / 3 + 1e-4


def test_the_seed_makes_it_reproducible_and_other_images_do_not_matter():
    one, again = measure(net(True), steps=4), measure(net(True), steps=4)
    assert one == again
    assert measure(net(True), steps=4, seed=1) != one
    before = torch.random.get_rng_state()
    torch.rand(7)
    assert measure(net(True), steps=4) == one
    torch.random.set_rng_state(before)


def test_the_precision_is_float32_for_the_time():
    method = DRUNet(width=8, depth=1, blocks=1, precision="bf16").eval()
    seen = []
    with properties.in_float32(method):
        seen.append(method.compute.wanted)
    assert [*seen, method.compute.wanted] == ["float32", "bf16"]


def blurred(x):
    kernel = torch.tensor([0.25, 0.5, 0.25])
    drawn = [{"kernel": torch.outer(kernel, kernel).numpy(), "boundary": "circular"}]
    physics = families.build("blur", drawn, tuple(x.shape[1:]))
    return DataTerm(physics.A(x), physics), 0.0, 1.0


def identity(x):
    physics = families.build("identity", [{}], tuple(x.shape[1:]))
    return DataTerm(x, physics), 1.0, 1.0


TOYS = {
    # D, with upper bounds of D, I - D, 2 D - I
    "contraction": (lambda x: 0.5 * smooth(x) + 0.25 * x, closed(0.75, 11 / 12, None)),
    "firmly nonexpansive": (lambda x: x - x.clamp(-0.1, 0.1), closed(None, None, 1.0)),
    "averaged": (smooth, closed(1.0, 4 / 3, None)),
    "small residual": (lambda x: x - 0.2 * torch.tanh(x.roll(3, -1)), closed(None, 0.2, None)),
    "expansive": (lambda x: 1.3 * x.roll(1, -2), closed(1.3, None, None)),
}
ALGORITHMS = ("pgd", "hqs", "admm", "drs", "red", "gs")


@pytest.mark.parametrize("name", TOYS)
def test_certified_bounds_are_never_below_measured_ones(name):
    function, upper = TOYS[name]
    found = measure(function, steps=6)
    for word, bound in zip(MAPS, upper, strict=True):
        assert found.lower(word) <= bound * (1 + 1e-4)


@pytest.mark.parametrize("scene", [blurred, identity])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", TOYS)
def test_the_certified_constant_of_an_iteration_is_never_below_the_measured_one(
    name, algorithm, scene
):
    function, (denoiser, residual, _) = TOYS[name]
    data, mu, curvature = scene(IMAGE)
    for step in (0.3, 1.5):
        iteration = Stationary(algorithm, None, function, LEVEL, step, weight=0.4)
        follow = iteration.map(data)
        at = Jacobian(follow, IMAGE)
        found = float(jacobian.norm(at, properties.normal(IMAGE, "start"), 12)[0])
        assert found <= iteration.certified(mu, curvature, denoiser, residual) * (1 + 1e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fixed_point_solves_the_equation_of_its_algorithm(algorithm):
    """For D = (1 - a) I it is known: that of pgd, drs and admm is the prox of a/(1-a) 1/2|x|^2."""
    data, _, _ = blurred(IMAGE)
    a, step, weight = 0.1, 0.8, 0.4
    iteration = Stationary(algorithm, None, lambda x: (1 - a) * x, LEVEL, step, weight)
    states = iteration.iterate(data, IMAGE)
    for _ in range(400):
        state = next(states)
    x = iteration.estimate(data, state)
    penalty = a / (1 - a) / step if algorithm in ("pgd", "drs", "admm") else a * weight
    if algorithm == "hqs":  # x = (1 - a) prox(x)
        x, penalty = x / (1 - a), a / step
    slope = data.gradient(x) + penalty * x
    assert float(slope.norm() / x.norm()) < 1e-4
