"""Huber regularisation: its gradient, its limits, its derivatives, operators with a null space."""

import pytest
import torch
from deepinv.physics import GaussianNoise, Inpainting

from challenge.data.physics.blur import blur
from challenge.methods.contract_test import check, toy_images, toy_problem
from challenge.methods.solvers.implicit import Adjoint
from challenge.methods.transforms.differences import total_variation
from challenge.methods.variational import huber, tv
from challenge.methods.variational.huber import Huber

BOUNDARIES = ["circular", "valid", "reflect"]
EXACT = Adjoint(tolerance=1e-12, iterations=400)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def scene(boundary="circular", side=16, count=2, channels=3, sigma=0.03):
    """Measurements in float64, one kernel per image, and the images."""
    images = toy_images(count, channels, side)
    x = torch.stack([images[n] for n in range(count)]).double()
    kernels = torch.from_numpy(toy_problem().arrays["kernels"])[:, None].double()[:count]
    physics = blur(kernels, torch.tensor([sigma], dtype=torch.float64), boundary, x.shape[1:])
    y = physics.A(x)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=y.dtype)
    return y + sigma * noise, physics, x


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_huber_holds_to_the_contract(boundary):
    problem = toy_problem(boundary=boundary)
    steps = 1 if boundary == "circular" else None
    assert check(lambda: Huber(iterations=40), problem=problem, steps=steps) == []


def test_huber_reconstructs_grey_images():
    assert check(lambda: Huber(iterations=40), problem=toy_problem(channels=1)) == []


def test_the_gradient_is_that_of_the_energy():
    _, _, x = scene()
    weight, eps = tensor(0.3, 0.7), torch.tensor(0.02, dtype=torch.float64)
    value, gradient = huber.regulariser(x, weight, eps)
    for seed in range(3):
        v = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        step = 1e-6
        ahead, behind = (huber.regulariser(x + s * v, weight, eps)[0] for s in (step, -step))
        slope = (gradient * v).flatten(1).sum(1)
        assert torch.allclose((ahead - behind) / (2 * step), slope, rtol=1e-6)
    assert (value > 0).all()


def test_a_step_costs_its_height_less_half_eps_and_a_ramp_half_its_square_over_eps():
    step, ramp = torch.zeros(1, 1, 8, 8).double(), torch.zeros(1, 1, 8, 8).double()
    step[..., 4:] = 0.5
    ramp += 0.01 * torch.arange(8).double()
    for x, price in ((step, 8 * (0.5 - 0.02)), (ramp, 56 * 0.01**2 / 0.08)):
        value, _ = huber.regulariser(x, tensor(3.0), tensor(0.04)[0])
        assert float(value) == pytest.approx(3 * price, rel=1e-12)


def test_huber_lies_within_half_eps_per_pixel_of_total_variation():
    _, _, x = scene()
    for eps in (0.1, 0.01, 1e-4):
        value, _ = huber.regulariser(x, tensor(1.0), torch.tensor(eps).double())
        below = total_variation(x, True) - value
        assert (below >= 0).all()
        assert (below <= eps / 2 * x[0, 0].numel()).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_huber_tends_to_total_variation(boundary):
    y, physics, _ = scene(boundary, side=24)
    weight = 0.007
    settled = tv.solve(
        y, physics, torch.full((1, 1, 1, 1), weight).to(y), iterations=1500, coupled=True
    )
    distances = []
    for eps in (0.1, 0.01, 0.001):
        found = huber.solve(
            y, physics, tensor(weight), torch.tensor(eps).double(), tolerance=1e-8, iterations=9000
        )
        assert (found.residual <= 1e-8).all()
        distances.append(float((found.x - settled).square().mean().sqrt()))
    assert distances[0] > 3 * distances[1] > 9 * distances[2]
    assert distances[2] < 2e-4


def test_eps_above_every_slope_is_tikhonov():
    y, physics, _ = scene(count=1, channels=1, side=12)
    eps, weight = 100.0, 5.0
    found = huber.solve(
        y, physics, tensor(weight), torch.tensor(eps).double(), tolerance=1e-13, iterations=500
    )
    basis = torch.eye(144, dtype=torch.float64).reshape(144, 1, 12, 12)
    a = physics.A(basis).flatten(1).T
    d = huber.regulariser(basis, tensor(1.0), torch.tensor(1.0).double() * 1e6)[1] * 1e6
    hessian = a.T @ a + weight / eps * d.flatten(1).T
    exact = torch.linalg.solve(hessian, a.T @ y.flatten())
    assert torch.allclose(found.x.flatten(), exact, atol=1e-9)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_images_do_not_depend_on_their_batch(boundary):
    y, physics, _ = scene(boundary)
    knobs = {"tolerance": 1e-6, "iterations": 300}
    weight, eps = tensor(0.001, 0.05), torch.tensor(0.01).double()
    together = huber.solve(y, physics, weight, eps, **knobs)
    for n in range(2):
        part = slice(n, n + 1)
        single = blur(physics.filter[part], physics.noise_model.sigma, boundary, (3, 16, 16))
        alone = huber.solve(y[part], single, weight[part], eps, **knobs)
        assert torch.allclose(together.x[n], alone.x[0], atol=1e-10)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_solution_is_differentiable_in_weight_eps_measurement_and_kernel(boundary):
    y, physics, x = scene(boundary, side=10, channels=1)
    kernel = physics.filter.clone()

    def loss(weight, eps, shift, gain):
        operator = blur(kernel, 0.03, boundary, (1, 10, 10))
        # A kernel is scaled by scaling what comes out of the operator.
        operator.A, operator.A_adjoint = scaled(operator, gain)
        found = huber.solve(
            y + shift,
            operator,
            weight,
            eps,
            tolerance=1e-13,
            iterations=4000,
            adjoint=EXACT,
        )
        assert (found.residual < 1e-11).all()
        return (found.x - x).square().sum()

    def scaled(operator, gain):
        forward, back = operator.A, operator.A_adjoint
        return (lambda v: gain * forward(v)), (lambda v: gain * back(v))

    inputs = [tensor(0.01), torch.tensor(0.1).double(), tensor(0.0)[0], tensor(1.0)[0]]
    inputs = [each.requires_grad_() for each in inputs]
    slopes = torch.autograd.grad(loss(*inputs), inputs)
    for index, slope in enumerate(slopes):
        step = 1e-5 * max(1e-2, float(inputs[index].detach().abs()))
        values = []
        for sign in (1, -1):
            moved = [each.detach().clone() for each in inputs]
            moved[index] += sign * step
            with torch.no_grad():
                values.append(float(loss(*moved)))
        central = (values[0] - values[1]) / (2 * step)
        assert abs(float(slope) - central) <= 1e-5 * abs(central)


def test_pixels_that_are_not_seen_are_filled_in():
    """An operator with a large null space: the energy is still as low as can be."""
    _, _, x = scene(count=1)
    physics = Inpainting((3, 16, 16), mask=(torch.arange(256).reshape(16, 16) % 3 == 0).double())
    physics.noise_model = GaussianNoise(0.03)
    y = physics.A(x)
    found = huber.solve(
        y, physics, tensor(0.003), torch.tensor(0.01).double(), tolerance=1e-9, iterations=5000
    )
    assert found.residual[0] <= 1e-9
    assert (found.x - x).square().mean() < 0.3 * (physics.A_adjoint(y) - x).square().mean()


def test_under_no_grad_nothing_is_differentiated():
    y, physics, _ = scene()
    with torch.no_grad():
        found = huber.solve(
            y.requires_grad_(),
            physics,
            tensor(0.01),
            torch.tensor(0.1).double(),
            tolerance=1e-4,
            iterations=50,
        )
    assert not found.x.requires_grad
