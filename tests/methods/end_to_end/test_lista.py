"""Convolutional LISTA: its operators, ISTA as a special case, checkpoints, kernels, messages."""

import math

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.physics.blur import blur
from challenge.methods.contract_test import ToySession, check, toy_images, toy_problem
from challenge.methods.end_to_end import lista
from challenge.methods.end_to_end.lista import Lista
from challenge.methods.networks.dictionary import analyse, cosines, synthesise
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import wiener

SMALL = {"layers": 3, "filters": 16, "side": 4}
BOUNDARIES = ["circular", "valid", "reflect"]


def scene(boundary="circular", batch=2, size=(21, 26), channels=3):
    """Images (B, C, H, W), their measurements and operator, float64; a kernel for each image."""
    generator = torch.Generator().manual_seed(3)
    kernel = torch.rand(batch, 1, 5, 5, generator=generator, dtype=torch.float64)
    kernel /= kernel.sum((-2, -1), keepdim=True)
    sigma = torch.linspace(0.02, 0.05, batch, dtype=torch.float64)
    physics = blur(kernel, sigma, boundary, (channels, *size))
    x = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    y = physics.A(x)
    noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return x, y + sigma.reshape(-1, 1, 1, 1) * noise, physics


def shaken(**knobs):
    """A method whose parameters are all moved from where they start, float64."""
    method = Lista(**{**SMALL, **knobs}).double().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.net.values():
            parameter += (
                0.05
                * parameter.std().clamp_min(0.1)
                * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    return method


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (4, 2), (6, 2), (6, 3), (2, 2)])
@pytest.mark.parametrize("size", [(12, 18), (13, 17)])
def test_analysis_is_the_adjoint_of_synthesis(side, stride, size):
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(7, 3, side, side, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    found = analyse(x, filters, stride)
    z = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    image = synthesise(z, filters, stride, size)
    assert image.shape == x.shape
    torch.testing.assert_close((found * z).sum(), (x * image).sum(), rtol=1e-12, atol=0)


def test_synthesis_places_each_filter_where_its_code_is():
    filters = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    z = torch.zeros(1, 3, 12, 12)
    z[0, 1, 5, 4] = 2
    expected = torch.zeros(1, 3, 20, 20)
    expected[0, :, 6:12, 4:10] = 2 * filters[1]
    torch.testing.assert_close(synthesise(z, filters, 2, (20, 20)), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["constant", "replicate"])
def test_cosines_are_orthonormal_and_all_of_them_a_tight_frame(channels, mode):
    filters = cosines(channels, 6).double()
    flat = filters.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(flat)).double(), rtol=0, atol=1e-6)
    x = torch.rand(1, channels, 15, 22, generator=torch.Generator().manual_seed(0)).double()
    back = synthesise(analyse(x, filters, 2, mode), filters, 2, (15, 22))
    torch.testing.assert_close(back, 9 * x, rtol=0, atol=1e-5)
    assert (flat[:channels] * flat[:channels, :1]).std(1).max() < 0.1  # averages come first


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_tied_layers_without_preconditioner_are_ista_on_the_lasso(boundary):
    method = Lista(**SMALL, tied=True, shared=True, preconditioned=False).double().eval()
    x, y, physics = scene(boundary)
    size, lam = 30.0, 0.004
    sigma = physics.noise_model.sigma.reshape(-1, 1, 1, 1)
    with torch.no_grad():
        method.net["log_step"].fill_(1 / size).log_()
        # The threshold is sigma exp(t); one image at a time has one lasso.
        for image in range(len(x)):
            kernel = physics.filter[image : image + 1]
            one = blur(kernel, sigma[image].flatten(), boundary, x.shape[1:])
            measured = y[image : image + 1]
            method.net["log_threshold"].fill_(lam / size / float(sigma[image])).log_()
            z = analyse(
                wiener(measured, one, method.wiener.log_spectrum, [1.0], 8)[0],
                method.dictionary(0) / size,
                2,
                "replicate",
            )
            values = []
            for _ in range(method.layers):
                values.append(_lasso(method, z, measured, one, lam))
                # The gradient by differentiation: nothing of the method but its dictionary.
                z = z - _gradient(method, z, measured, one) / size
                z = z.sign() * (z.abs() - lam / size).clamp_min(0)
            values.append(_lasso(method, z, measured, one, lam))
            expected = synthesise(z, method.dictionary(0), 2, x.shape[-2:])
            torch.testing.assert_close(method(measured, one), expected, rtol=0, atol=1e-10)
            assert values == sorted(values, reverse=True)


def _lasso(method, z, y, physics, lam):
    residual = physics.A(synthesise(z, method.dictionary(0), 2, (21, 26))) - y
    return float(0.5 * residual.square().sum() + lam * z.abs().sum())


@torch.enable_grad()
def _gradient(method, z, y, physics):
    z = z.detach().requires_grad_()
    residual = physics.A(synthesise(z, method.dictionary(0).detach(), 2, (21, 26))) - y
    return torch.autograd.grad(0.5 * residual.square().sum(), z)[0]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("metric", ["white", "spectral"])
def test_the_preconditioner_is_the_regularised_inverse(metric, boundary, monkeypatch):
    """z - W^T (A^T A + R)^-1 A^T (A x - y), by solving dense equations."""
    monkeypatch.setattr(lista, "ITERATIONS", 100)
    monkeypatch.setattr(lista, "TOLERANCE", 1e-12)
    size = (9, 10)
    method = shaken(metric=metric, channels=1)
    method.net["log_threshold"].data.fill_(-100)
    method.net["log_error"].data += torch.linspace(0, 1, method.bins)
    _, y, physics = scene(boundary, batch=1, size=size, channels=1)
    z = analyse(torch.rand(1, 1, *size, dtype=torch.float64), method.analysis(0), 2)
    x = synthesise(z, method.dictionary(1), 2, size)
    units = torch.eye(90, dtype=torch.float64).reshape(90, 1, *size)
    matrix = physics.A_adjoint(physics.A(units)).reshape(90, 90)
    weight = physics.noise_model.sigma.square() * method.inverse_error(1, size)
    penalty = torch.fft.irfft2(torch.fft.rfft2(units) * weight, s=size).reshape(90, 90)
    right = physics.A_adjoint(physics.A(x) - y).reshape(90)
    u = torch.linalg.solve(matrix + penalty, right).reshape(1, 1, *size)
    expected = z - analyse(u, method.analysis(2), 2)
    found = method.layer(1, z, DataTerm(y, physics))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_few_conjugate_gradients_are_near_the_inverse(boundary):
    x, y, physics = scene(boundary)
    data = DataTerm(y, physics)
    weight = physics.noise_model.sigma.reshape(-1, 1, 1, 1).square() * 400
    right = data.gradient(x + 0.05 * torch.randn_like(x))
    u = data.inverse(right, weight, tolerance=lista.TOLERANCE, iterations=lista.ITERATIONS)
    again = data.physics.A_adjoint(data.physics.A(u)) + weight * u
    assert (again - right).norm() < 0.02 * right.norm()


def test_before_training_and_without_thresholds_it_starts_at_the_wiener_estimate():
    method = Lista(layers=1, filters=48, side=4, tied=False).double().eval()
    with torch.no_grad():
        method.net["log_threshold"].fill_(-100)
        method.net["analysis"][1] = 0
    _, y, physics = scene()
    estimate = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
    torch.testing.assert_close(method(y, physics), estimate, rtol=0, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("knobs", [{}, {"tied": True}, {"preconditioned": False}])
def test_checkpointed_and_plain_gradients_are_equal(boundary, knobs):
    x, y, physics = scene(boundary)
    found = []
    for checkpoint in (False, True):
        method = shaken(**knobs, checkpoint=checkpoint).train()
        (method(y, physics) - x).square().mean().backward()
        found.append([parameter.grad for parameter in method.net.values()])
    for plain, checkpointed in zip(*found, strict=True):
        assert plain.abs().max() > 0
        assert torch.equal(plain, checkpointed)


@pytest.mark.parametrize("knobs", [{}, {"tied": True, "shared": True}, {"metric": "white"}])
def test_gradients_are_those_of_finite_differences(knobs):
    x, y, physics = scene(size=(12, 14))
    method = shaken(**knobs)

    def loss():
        return (method(y, physics) - x).square().sum()

    loss().backward()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in method.net.items():
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        way /= way.norm()
        slope, step, ends = float((parameter.grad * way).sum()), 1e-6, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * way
                ends.append(float(loss()))
                parameter -= sign * step * way
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4), name


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_another_kernel_for_every_image_equals_each_alone(boundary):
    method = shaken()
    x, y, physics = scene(boundary, batch=3)
    together = method(y, physics)
    for image in range(3):
        one = slice(image, image + 1)
        alone = blur(physics.filter[one], physics.noise_model.sigma[one], boundary, x.shape[1:])
        found = method(y[one], alone)
        torch.testing.assert_close(found, together[one], rtol=0, atol=1e-10)
    swapped = blur(physics.filter.flip(0), physics.noise_model.sigma, boundary, x.shape[1:])
    assert (method(y, swapped) - together).abs().max() > 1e-3


def test_thresholds_follow_the_noise():
    """Twice the image, noise and error level: twice the estimate."""
    method = shaken()
    _, y, physics = scene()
    louder = blur(physics.filter, 2 * physics.noise_model.sigma, "circular", (3, 21, 26))
    once = method(y, physics)
    with torch.no_grad():
        method.net["log_error"] += 2 * math.log(2)
        method.wiener.log_spectrum += 2 * math.log(2)
    torch.testing.assert_close(method(2 * y, louder), 2 * once, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("boundary", "channels", "knobs"),
    [
        ("circular", 3, {}),
        ("valid", 3, {}),
        ("reflect", 1, {}),
        ("circular", 1, {"tied": True, "shared": True}),
        ("valid", 3, {"preconditioned": False}),
    ],
)
def test_it_holds_to_the_contract(boundary, channels, knobs):
    problem = toy_problem(channels=channels, boundary=boundary)
    assert check(lambda: Lista(**SMALL, channels=channels, **knobs), problem=problem) == []


def test_training_lowers_the_loss():
    method, session = Lista(**SMALL), ToySession()
    train = TrainConfig(
        steps=40, batch=4, patch=24, tune=2, evaluate=40, lr=3e-3, precision="float32"
    )
    method.fit(toy_problem(), toy_images(8), train, session)
    psnr = [line["psnr"] for line in session.lines if "psnr" in line]
    assert psnr[-1] > psnr[0] + 0.3
    assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
    assert (method.dictionary(1).flatten(1).norm(dim=1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"side": 5}, "`method.side`: is `5`, not a multiple"),
        ({"filters": 200}, "`method.filters`: is `200`, more than the 48"),
        ({"preconditioned": False, "metric": "white"}, "`method.metric`"),
    ],
)
def test_knobs_that_do_not_fit_are_refused(knobs, text):
    with pytest.raises(UserError, match=text):
        Lista(**{**SMALL, **knobs})


def test_other_channels_are_refused():
    _, y, physics = scene(channels=1)
    with pytest.raises(UserError, match=r"method\.channels"):
        Lista(**SMALL)(y, physics)


@pytest.mark.parametrize("factor", [50.0, float("nan")])
def test_layers_that_diverge_are_named(factor):
    method = Lista(**{**SMALL, "layers": 8}).double().eval()
    method.net["analysis"].data[2:] *= factor
    _, y, physics = scene()
    with pytest.raises(UserError, match=r"layer \d of 8: its estimate .* diverges"):
        method(y, physics)
