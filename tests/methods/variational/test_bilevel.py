"""Bilevel learning: hypergradients, their modes and memory; filters; search; bad lower levels."""

import pytest
import torch
from deepinv.physics import GaussianNoise, Inpainting

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import split_tune
from challenge.data.physics.blur import blur
from challenge.methods.contract_test import ToySession, check, toy_images, toy_problem
from challenge.methods.solvers.implicit import Adjoint
from challenge.methods.solvers.solution import NotConverged, NotPositiveDefinite
from challenge.methods.training.patches import tune_batch
from challenge.methods.variational import fields_of_experts
from challenge.methods.variational.bilevel import Bilevel
from challenge.methods.variational.energy import Energy, minimise
from challenge.methods.variational.fields_of_experts import Bank

BOUNDARIES = ["circular", "valid", "reflect"]
SMALL = {"filters": 6, "size": 3, "tolerance": 1e-4, "iterations": 30}
THETAS = [
    {"theta": "weight"},
    {"theta": "weight_eps"},
    {"theta": "filters", "potential": "convex", "filters": 4, "size": 3},
    {"theta": "filters", "potential": "nonconvex", "filters": 4, "size": 3},
]


def scene(boundary="circular", side=12, count=2, channels=1, sigma=(0.03,), dtype=torch.float64):
    images = toy_images(count, channels, side)
    x = torch.stack([images[n] for n in range(count)]).to(dtype)
    kernels = torch.from_numpy(toy_problem().arrays["kernels"])[:, None].to(dtype)[:count]
    sigma = torch.tensor(sigma, dtype=dtype)
    physics = blur(kernels, sigma, boundary, x.shape[1:])
    y = physics.A(x)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=y.dtype)
    return x, y + 0.03 * noise, physics


def learned(channels=1, hypergradient="implicit", **knobs):
    """A method in float64 whose theta is not that of before training, solved to the end."""
    torch.manual_seed(0)
    method = Bilevel(
        channels=channels,
        hypergradient=hypergradient,
        iterations=3000,
        adjoint_tolerance=1e-12,
        adjoint_iterations=2000,
        **knobs,
    ).double()
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            parameter += 0.1 * torch.randn_like(parameter)
            if name in ("log_eps", "log_scales"):
                parameter += 1.5
    return method


def upper(method, x, y, physics, tolerance=1e-13, start=None):
    found = method.solve(y, physics, tolerance, start)
    return (found.x - x).square().mean() / 2


# --- hypergradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("knobs", THETAS, ids=lambda knobs: knobs.get("potential", knobs["theta"]))
def test_hypergradients_equal_central_differences(knobs, boundary):
    x, y, physics = scene(boundary, sigma=(0.04, 0.06))
    method = learned(**knobs)
    theta = {name: each for name, each in method.named_parameters() if each.requires_grad}
    slopes = torch.autograd.grad(upper(method, x, y, physics), theta.values())
    start = method.lower.x.detach()
    for (name, parameter), slope in zip(theta.items(), slopes, strict=True):
        direction = torch.randn_like(parameter)
        direction /= direction.norm()
        values = []
        step = 1e-4
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                values.append(float(upper(method, x, y, physics, start=start)))
                parameter -= sign * step * direction
        central = (values[0] - values[1]) / (2 * step)
        assert abs(float((slope * direction).sum()) - central) <= 1e-5 * float(slope.norm()), name


@pytest.mark.parametrize("knobs", THETAS, ids=lambda knobs: knobs.get("potential", knobs["theta"]))
def test_the_modes_agree_as_the_lower_level_converges_but_for_the_bias(knobs):
    x, y, physics = scene()

    def slope(mode, tolerance):
        method = learned(hypergradient=mode, **knobs)
        theta = [each for each in method.parameters() if each.requires_grad]
        found = torch.autograd.grad(upper(method, x, y, physics, tolerance), theta)
        return torch.cat([each.flatten() for each in found])

    truth = slope("implicit", 1e-13)
    for mode in ("implicit", "unrolled"):
        errors = [float((slope(mode, t) - truth).norm() / truth.norm()) for t in (1e-3, 1e-6, 1e-9)]
        assert errors[2] < 1e-4 < errors[0], mode
        assert errors[1] < errors[0], mode
    biased = [
        float((slope("jacobian_free", t) - truth).norm() / truth.norm()) for t in (1e-6, 1e-9)
    ]
    assert biased[1] > 0.02
    assert biased[0] == pytest.approx(biased[1], rel=1e-2)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_jacobian_free_is_the_derivative_of_the_last_step(boundary):
    x, y, physics = scene(boundary)
    method = learned(hypergradient="jacobian_free", theta="weight_eps")
    theta = (method.log_weight, method.log_eps)
    loss = upper(method, x, y, physics)
    got, at = torch.autograd.grad(loss, theta), method.lower.x.detach()
    energy, level = method.energy(y, physics), method.lower.lipschitz[:, None, None, None]
    step = at - energy.preconditioner()(energy.gradient(at)) / level
    wanted = torch.autograd.grad((step - x).square().mean() / 2, theta)
    assert torch.allclose(torch.stack(got), torch.stack(wanted), rtol=1e-8)


def test_memory_does_not_depend_on_the_iterations_of_the_lower_level():
    x, y, physics = scene(side=8, count=1)

    def saved(mode, iterations):
        method = learned(hypergradient=mode, theta="weight")
        method.iterations = iterations
        held = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: held.append(t.numel()) or t, lambda t: t
        ):
            found = method.solve(y, physics, 0.0)
        assert found.iterations == iterations
        return sum(held)

    once = saved("implicit", 50)
    assert once == saved("implicit", 500) == saved("implicit", 5000)
    assert saved("unrolled", 100) > 1.9 * saved("unrolled", 50) > 10 * once


# --- filters --------------------------------------------------------------------------------------


def bank(potential="convex", count=5, channels=3, size=3):
    torch.manual_seed(0)
    return Bank(
        fields_of_experts.normalised(torch.randn(count, channels, size, size, dtype=torch.float64)),
        torch.rand(count, 2, dtype=torch.float64) + 0.1,
        0.1 * torch.rand(count, 2, dtype=torch.float64) + 0.01,
        potential,
    )


@pytest.mark.parametrize("size", [3, 5, 7])
def test_the_filters_and_their_transpose_are_an_adjoint_pair(size):
    f = bank(size=size).filters
    x = torch.randn(2, 3, 12, 9, dtype=torch.float64)
    r = torch.randn_like(fields_of_experts.responses(x, f))
    back = fields_of_experts.transposed(r, f)
    assert back.shape == x.shape
    assert torch.allclose(
        (fields_of_experts.responses(x, f) * r).sum(), (x * back).sum(), rtol=1e-12
    )


def test_a_constant_costs_nothing_and_filters_have_unit_norm():
    b = bank()
    x = torch.rand(2, 3, 1, 1, dtype=torch.float64).expand(2, 3, 9, 9)
    value, gradient = fields_of_experts.regulariser(x, b, torch.ones(1).double())
    assert value.abs().max() < 1e-20
    assert gradient.abs().max() < 1e-10
    assert torch.allclose(b.filters.flatten(1).norm(dim=1), torch.ones(5).double())


@pytest.mark.parametrize("potential", ["convex", "nonconvex"])
def test_the_gradient_is_that_of_the_energy(potential):
    b, x = bank(potential), torch.rand(2, 3, 9, 8, dtype=torch.float64)
    strength = torch.tensor([0.5, 2.0]).double()
    _, gradient = fields_of_experts.regulariser(x, b, strength)
    v = torch.randn_like(x)
    ahead, behind = (
        fields_of_experts.regulariser(x + s * v, b, strength)[0] for s in (1e-6, -1e-6)
    )
    slope = (gradient * v).flatten(1).sum(1)
    assert torch.allclose((ahead - behind) / 2e-6, slope, rtol=1e-5)


@pytest.mark.parametrize("boundary", ["circular", "valid"])
@pytest.mark.parametrize("potential", ["convex", "nonconvex"])
def test_the_preconditioner_bounds_the_hessian(potential, boundary):
    x, y, physics = scene(boundary, side=8, channels=3, count=1)
    b, strength = bank(potential), torch.ones(1).double()
    energy = Energy(
        y,
        physics,
        lambda x: fields_of_experts.regulariser(x, b, strength),
        fields_of_experts.majorant(b, strength, 8, 8),
    )
    size = 3 * 8 * 8
    basis = torch.eye(size, dtype=torch.float64).reshape(size, 3, 8, 8)
    inverse = energy.preconditioner()(basis).reshape(size, size)
    # A constant image has the largest curvature, a random one some of it.
    for at in (torch.zeros_like(x), x + torch.randn_like(x)):
        hessian = torch.autograd.functional.jacobian(energy.gradient, at).reshape(size, size)
        gap = torch.linalg.inv(inverse) - hessian
        assert torch.linalg.eigvalsh((gap + gap.mT) / 2)[0] > -1e-9


def test_cosine_filters_are_orthonormal_and_see_every_frequency():
    f = fields_of_experts.cosine_filters(24, 3, 5)
    gram = f.flatten(1) @ f.flatten(1).T
    assert torch.allclose(gram, torch.eye(24), atol=1e-6)
    assert f.sum((2, 3)).abs().max() < 1e-6
    seen = torch.fft.rfft2(f, s=(16, 16)).abs().square().sum((0, 1)).flatten()
    assert seen[1:].min() > 0.2


# --- the method -----------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("potential", ["convex", "nonconvex"])
def test_filters_hold_to_the_contract(potential, boundary):
    problem = toy_problem(boundary=boundary)
    steps = 1 if boundary == "circular" else None
    assert check(lambda: Bilevel(potential=potential, **SMALL), problem=problem, steps=steps) == []


def test_weights_hold_to_the_contract_for_grey_images():
    knobs = {"theta": "weight_eps", "tolerance": 1e-4, "iterations": 30}
    assert check(lambda: Bilevel(**knobs), problem=toy_problem(channels=1)) == []


@pytest.mark.parametrize("hypergradient", ["implicit", "unrolled", "jacobian_free"])
def test_training_filters_lowers_the_error_and_logs_its_accuracy(hypergradient):
    torch.manual_seed(0)
    method = Bilevel(hypergradient=hypergradient, **SMALL)
    session = ToySession()
    train = TrainConfig(steps=20, batch=2, patch=24, tune=2, evaluate=20, lr=3e-2)
    method.fit(toy_problem(), toy_images(6), train, session)
    first, last = session.lines[0], session.lines[-1]
    assert last["psnr"] > first["psnr"]
    assert 0 < last["lower"] <= 100 * 30 * 1e-4
    if hypergradient == "implicit":
        assert 0 < last["adjoint"] <= 0.1
        assert last["curvature"] > 0
        assert last["bound"] > 0


def test_the_lower_level_is_solved_better_as_training_goes_on():
    method = Bilevel(**(SMALL | {"iterations": 500}))
    _, y, physics = scene(channels=3, dtype=torch.float32)
    found = []
    for step in (0, 1000, 100000):
        method.advance(step, None)
        method.train()(y, physics)
        found.append(float(method.lower.residual.max()))
    assert found[0] > 5 * found[1]
    assert found[2] <= 1.001e-4


def test_the_training_says_which_step_it_is_and_a_look_counts_none():
    method = Bilevel(**SMALL)
    train = TrainConfig(steps=3, batch=1, patch=24, tune=1, evaluate=3)
    method.fit(toy_problem(), toy_images(3), train, ToySession())
    assert method.step == 2
    _, y, physics = scene(channels=3, dtype=torch.float32)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.train()(y, physics)
    assert method.step == 2
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


@pytest.mark.parametrize("theta", ["weight", "weight_eps"])
def test_the_search_finds_what_a_grid_finds(theta):
    problem = toy_problem().at(schema.GaussianNoise(sigma=0.03))
    images, session = toy_images(5), ToySession()
    method = Bilevel(theta=theta, tolerance=1e-5)
    method.fit(problem, images, TrainConfig(tune=3), session)
    assert len(session.lines) <= (12 if theta == "weight" else 18)
    held = split_tune(images, 3, session.seed)[1]
    scenes = [tune_batch(held, problem, n, torch.device("cpu")) for n in range(len(held))]

    @torch.no_grad()
    def loss(shift):
        other = Bilevel(theta=theta, tolerance=1e-4)
        other.load_state_dict(method.state_dict())
        other.log_weight += shift
        errors = [(other(y, physics) - x).square().mean() for x, y, physics in scenes]
        return float(10 * torch.stack(errors).log10().mean())

    assert loss(0.0) <= min(loss(shift) for shift in (-1, -0.4, -0.2, 0.2, 0.4, 1)) + 0.02


@pytest.mark.parametrize("shift", [-3.0, 2.0])
def test_the_search_finds_its_way_from_afar(shift):
    problem = toy_problem().at(schema.GaussianNoise(sigma=0.03))
    found = []
    for start in (0.0, shift):
        method = Bilevel(theta="weight", tolerance=1e-5)
        method.log_weight.data += start
        session = ToySession()
        method.fit(problem, toy_images(5), TrainConfig(tune=2), session)
        found.append(method.log_weight.item())
        assert session.lines[-1]["slope"] <= 0.01
    assert found[0] == pytest.approx(found[1], abs=0.02)


def test_channels_are_checked():
    method = Bilevel(channels=3, **SMALL)
    _, y, physics = scene(channels=1, dtype=torch.float32)
    with pytest.raises(UserError, match="made for `3`, the measurement has `1`"):
        method(y, physics)
    with pytest.raises(UserError, match="channels=1"):
        method.fit(toy_problem(channels=1), toy_images(4, 1), TrainConfig(steps=1), ToySession())


# --- bad lower levels, on operators with a null space ---------------------------------------------


def blind(side=12):
    """Every third pixel is seen."""
    mask = (torch.arange(side * side).reshape(side, side) % 3 == 0).double()
    physics = Inpainting((1, side, side), mask=mask)
    physics.noise_model = GaussianNoise(0.03)
    x = toy_images(1, 1, side)[0][None].double()
    return x, physics.A(x), physics


def test_a_hypergradient_through_a_null_space_equals_central_differences():
    x, y, physics = blind()
    physics.noise_model.sigma = torch.tensor([0.03])
    method = learned(theta="weight_eps")
    theta = (method.log_weight, method.log_eps)
    slopes = torch.autograd.grad(upper(method, x, y, physics), theta)
    for parameter, slope in zip(theta, slopes, strict=True):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-4
                values.append(float(upper(method, x, y, physics)))
                parameter -= sign * 1e-4
        assert abs(float(slope) - (values[0] - values[1]) / 2e-4) <= 1e-5 * abs(float(slope))


def test_an_adjoint_system_with_a_null_space_is_refused():
    x, y, physics = blind()
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def nothing(v):
        return weight * v.flatten(1).sum(1), weight * v  # no regulariser: pixels are free

    energy = Energy(y, physics, nothing, torch.zeros(1, 1, 12, 7).double())
    found = minimise(energy, y, tolerance=1e-9, iterations=50, adjoint=Adjoint(iterations=50))
    with pytest.raises(NotPositiveDefinite, match=r"curvature of direction \d+ is `.*more weight"):
        (found.x - x).square().mean().backward()


def test_a_lower_level_that_has_not_converged_is_refused_while_training():
    _, y, physics = scene(channels=3, dtype=torch.float32)
    method = Bilevel(**(SMALL | {"iterations": 1, "tolerance": 1e-9})).train()
    with pytest.raises(NotConverged, match=r"gradient is `.*` after 1 .*`method.iterations`"):
        method(y, physics)
    with torch.no_grad():
        assert method.eval()(y, physics).isfinite().all()
