"""RED and gradient-step plug-and-play against closed forms: denoisers that are linear."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract import Method
from challenge.methods.contract_test import COLOURED, ToySession, check, toy_images, toy_problem
from challenge.methods.plug_and_play.denoisers import NoiseRange, noise_range
from challenge.methods.plug_and_play.gs_pnp import GSPnP
from challenge.methods.plug_and_play.red import Red
from challenge.methods.plug_and_play.safeguard import Diverges

SLOW = (("blur", "valid"), ("blur", "reflect"), ("downsampling", "reflect"), ("ct", None))
OPERATORS = [(kind, None) for kind in COLOURED if (kind, None) not in SLOW]
OPERATORS += [pytest.param(kind, rule, marks=pytest.mark.slow) for kind, rule in SLOW]
SIDE = 12
STEADY = {"falling": 0, "level": 0.05, "strength": 1.0, "denoised": False}
"""An iteration that is one and the same from its first step on."""


class Linear(Method):
    """D(x, sigma) = W x, a convolution: symmetric, or turned by a share of a pixel."""

    operators = ("identity",)

    def __init__(self, turned: bool = False, gain: float = 0.6) -> None:
        super().__init__()
        self.turned, self.gain = turned, gain
        self.levels = NoiseRange()
        self.calls = 0

    def forward(self, y, physics):
        return self.denoise(y, y.new_ones(1))

    def denoise(self, x, sigma):
        self.calls += 1
        height, width = x.shape[-2:]
        rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        w = self.gain * torch.exp(-4 * (rows**2 + columns**2)).to(x.dtype)
        if self.turned:
            w = w * torch.exp(2j * torch.pi * 0.1 * columns)
        return torch.fft.irfft2(torch.fft.rfft2(x) * w, s=(height, width))


class Symmetric(Linear):
    """The symmetric one, with its potential."""

    def potential(self, x, sigma):
        return (x * (x - self.denoise(x, sigma))).flatten(1).sum(1) / 2


class Crooked(Method):
    """A gradient step on a potential that is not convex, steep, and another at every level."""

    operators = ("identity",)

    def forward(self, y, physics):
        return self.denoise(y, physics.noise_model.sigma.reshape(-1, 1, 1, 1))

    def potential(self, x, sigma):
        return (torch.cos(40 * x) / 100 + sigma * x.abs()).flatten(1).sum(1)

    def denoise(self, x, sigma):
        return x - torch.func.grad(lambda at: self.potential(at, sigma).sum())(x)


def scene(operator="blur", boundary=None, count=2, double=True):
    problem = toy_problem(1, boundary, operator)
    problem = problem.at(schema.GaussianNoise(sigma=0.05))
    images = toy_images(count, 1, side=SIDE)
    y, physics = problem.measure(torch.stack([images[n] for n in range(count)]), range(count))
    return (y.double() if double else y), physics


def closed_form(denoiser, y, physics, weight):
    """x = (A^T A + lambda (I - W))^-1 A^T y of every image, by dense matrices."""
    found = []
    for index in range(len(y)):

        def system(v, index=index):
            batch = torch.zeros(len(y), 1, SIDE, SIDE).double()
            batch[index] = v
            seen = physics.A_adjoint(physics.A(batch))
            return (seen + weight * (batch - denoiser.denoise(batch, None)))[index]

        units = torch.eye(SIDE * SIDE).double().reshape(-1, 1, SIDE, SIDE)
        matrix = torch.stack([system(unit).flatten() for unit in units], dim=1)
        right = physics.A_adjoint(y)[index].flatten()
        found.append(torch.linalg.solve(matrix, right).reshape(1, SIDE, SIDE))
    return torch.stack(found)


def last(iterates):
    *_, x = iterates
    return x


IDLE = [
    ("red", {"inner": 2}),
    ("red", {"level": 0.1, "times": 2.0}),
    ("red", {"falling": 0.0, "first": 0.3}),
    ("gs_pnp", {"level": 0.1, "times": 2.0}),
    ("gs_pnp", {"warm_up": 0, "first": 0.3}),
]


@pytest.mark.parametrize(("name", "knobs"), IDLE)
def test_a_knob_that_nothing_reads_is_refused(name, knobs):
    gradient = {"name": "gsdrunet", "width": 4, "depth": 1, "blocks": 1}
    with pytest.raises(UserError, match=f"`method.{list(knobs)[-1]}`: is not read"):
        registry.build({"name": name, "denoiser": gradient, **knobs})


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_the_three_algorithms_end_at_the_closed_form(operator, boundary):
    """With W symmetric and not: the equation has one solution, gradient or not."""
    y, physics = scene(operator, boundary)
    for turned in (False, True):
        denoiser = Linear(turned)
        expected = closed_form(denoiser, y, physics, 1.0)
        for algorithm, count in (("gradient", 50), ("fixed_point", 30), ("admm", 60)):
            method = Red(denoiser=denoiser, algorithm=algorithm, **STEADY).double()
            with torch.no_grad():
                x = last(method.estimates(y, physics, count))
                slope = method.gradient(expected, y, physics)
            torch.testing.assert_close(x, expected, rtol=0, atol=3e-5, msg=algorithm)
            assert slope.abs().max() < 1e-5


def test_inner_steps_of_admm_do_not_move_where_it_ends():
    y, physics = scene()
    expected = closed_form(Linear(), y, physics, 1.0)
    method = Red(denoiser=Linear(), algorithm="admm", inner=3, **STEADY).double()
    x = last(method.estimates(y, physics, 40))
    torch.testing.assert_close(x, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_the_gradient_is_that_of_the_energy_for_a_symmetric_denoiser_alone(turned):
    """Reehorst, Schniter 2019: x - D(x) is grad 1/2 <x, x - D(x)> only where J = J^T."""
    denoiser = Linear(turned)
    x = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
    x.requires_grad_()
    (slope,) = torch.autograd.grad((x * (x - denoiser.denoise(x, None))).sum() / 2, x)
    y, physics = scene("identity", count=1)
    method = Red(denoiser=denoiser, **STEADY).double()
    with torch.no_grad():
        ours = method.gradient(x, y, physics) - (x - y)
    assert torch.allclose(ours, slope, rtol=0, atol=1e-6) == (not turned)


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_gradient_step_plug_and_play_ends_at_the_closed_form(operator, boundary):
    y, physics = scene(operator, boundary)
    method = GSPnP(
        denoiser=Symmetric(), level=0.05, strength=1.0, warm_up=0, tolerance=0, denoised=False
    ).double()
    with torch.no_grad():
        x = last(method.estimates(y, physics, 30))
    expected = closed_form(Symmetric(), y, physics, 1.0)
    torch.testing.assert_close(x, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("operator", ["blur", "inpainting"])
def test_the_objective_never_increases(operator, double):
    """Nor does it stand still: a step of 1 / lambda overshoots this potential, and is shrunk."""
    y, physics = scene(operator, double=double)
    method = GSPnP(denoiser=Crooked(), level=0.05, strength=0.5, warm_up=0, tolerance=0)
    method = method.double() if double else method
    with torch.no_grad():
        values = [method.objective(x, y, physics) for x in method.estimates(y, physics)]
    values = torch.stack(values)
    slack = 1e-12 if double else 1e-6
    assert (values[1:] <= values[:-1] + slack * values[:-1].abs()).all()
    assert (values[-1] < 0.9 * values[0]).all()


@pytest.mark.parametrize(
    "method",
    [
        lambda: Red(denoiser=Linear(), algorithm="gradient", iterations=10),
        lambda: Red(denoiser=Linear(), algorithm="fixed_point"),
        lambda: Red(denoiser=Linear(), algorithm="admm"),
        lambda: GSPnP(denoiser=Symmetric()),
        lambda: GSPnP(denoiser=Crooked(), strength=0.5, warm_up=0),
    ],
    ids=["gradient", "fixed_point", "admm", "gs_pnp", "gs_pnp-crooked"],
)  # fmt: skip
def test_results_do_not_depend_on_batch_or_order(method):
    assert check(method, steps=None) == []


def test_levels_fall_to_the_last_one_and_stay_there():
    seen = []

    class Listens(Linear):
        def denoise(self, x, sigma):
            seen.append(float(sigma))
            return super().denoise(x, sigma)

    y, physics = scene()
    Red(denoiser=Listens(), iterations=5, falling=0.6, first=0.4, times=2.0)(y.float(), physics)
    # sigma is 0.05; the last call is that of the result.
    assert seen == pytest.approx([0.4, 0.4 ** (2 / 3) * 0.1 ** (1 / 3),
                                  0.4 ** (1 / 3) * 0.1 ** (2 / 3), 0.1, 0.1, 0.1])  # fmt: skip


@pytest.mark.parametrize("algorithm", ["gradient", "fixed_point", "admm"])
@pytest.mark.parametrize("gain", [8.0, float("nan"), float("inf")])
@pytest.mark.parametrize("operator", ["blur", "compose"])
def test_an_iteration_that_diverges_is_stopped(operator, gain, algorithm):
    y, physics = scene(operator, double=False)
    knobs = {"denoiser": Linear(gain=gain), "algorithm": algorithm, "iterations": 60}
    with pytest.raises(Diverges, match="the iteration diverges, it was stopped after") as caught:
        Red(**knobs)(y, physics)
    assert caught.value.residuals and len(str(caught.value).splitlines()) == 1
    kept = Red(**knobs, safeguard="best", denoised=False)(y, physics)
    assert kept.abs().max() <= 10


@pytest.mark.parametrize("cls", [Red, GSPnP])
def test_levels_outside_of_the_denoisers_range_are_refused(cls):
    y, physics = scene(double=False)
    denoiser = Symmetric()
    denoiser.levels.ends.copy_(torch.tensor([0.01, 0.1]))
    assert noise_range(denoiser) == pytest.approx((0.01, 0.1))
    cls(denoiser=denoiser, first=0.1)(y, physics)
    with pytest.raises(UserError, match=r"asked for 48.4/255.*method.first"):
        cls(denoiser=denoiser)(y, physics)
    with pytest.raises(UserError, match=r"asked for 51/255.*method.level"):
        cls(denoiser=denoiser, first=0.1, level=0.2)(y, physics)


def test_a_denoiser_without_a_potential_is_refused():
    with pytest.raises(UserError, match="`TV` has no potential") as caught:
        registry.build({"name": "gs_pnp", "denoiser": "tv"})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("cls", [Red, GSPnP])
def test_the_strength_is_tuned_where_it_is_null(cls):
    method = cls(denoiser=Symmetric(), strength=None)
    y, physics = scene(double=False)
    with pytest.raises(UserError, match="is `null` and was not tuned yet"):
        method(y, physics)
    session = ToySession()
    method.fit(toy_problem(1), toy_images(4, 1), TrainConfig(tune=1), session)
    assert {"strength", "psnr"} <= session.lines[0].keys()
    best = max(session.lines, key=lambda line: line["psnr"])
    assert best["psnr"] > session.lines[0]["psnr"]
    assert method(y, physics).isfinite().all()


@pytest.mark.parametrize("cls", [Red, GSPnP])
def test_a_denoiser_for_other_images_is_refused(cls):
    denoiser = Symmetric()
    denoiser.channels = 3
    with pytest.raises(UserError, match=r"has `channels: 3`.*have `1`"):
        cls(denoiser=denoiser).fit(toy_problem(1), toy_images(4, 1), TrainConfig(), ToySession())
