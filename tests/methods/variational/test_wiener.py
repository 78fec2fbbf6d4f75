"""Wiener deconvolution: the closed form, its limits, the general solver, and the spectrum."""

import pytest
import torch

from challenge.data.physics.blur import blur
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import wiener
from challenge.methods.transforms import spectrum
from challenge.methods.variational.wiener import Wiener


def kernel(side: int = 7, count: int = 1) -> torch.Tensor:
    k = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(3)).double()
    return k / k.sum((-2, -1), keepdim=True)


def scene(batch: int = 1, height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(4)).double()


@pytest.mark.parametrize("boundary", ["circular", "valid", "reflect"])
@pytest.mark.parametrize("strength", [0.3, 1.0, 10.0])
def test_the_estimate_solves_the_normal_equations(boundary, strength):
    x = scene(2)
    physics = blur(kernel(count=2), torch.tensor([0.02, 0.05]).double(), boundary, (3, 32, 40))
    y = physics.A(x)
    log_s = spectrum.typical().double()
    x_hat = wiener(y, physics, log_s, [strength])[0]
    sigma2 = physics.noise_model.sigma.reshape(-1, 1, 1, 1) ** 2
    m = DataTerm(y, physics).continued
    away = x_hat if m is None else x_hat - m
    prior = torch.fft.irfft2(
        torch.fft.rfft2(away) * spectrum.penalty(log_s, 32, 40) * strength * sigma2, s=(32, 40)
    )
    gradient = physics.A_adjoint(physics.A(x_hat) - y) + prior
    scale = physics.A_adjoint(y).norm()
    assert gradient.norm() / scale < (1e-9 if boundary == "circular" else 2e-3)


def test_general_solver_equals_the_closed_form(monkeypatch):
    x, k = scene(), kernel()
    physics = blur(k, 0.03, "circular", (3, 32, 40))
    y = physics.A(x)
    closed = wiener(y, physics, spectrum.typical().double(), [1.0, 3.0])
    monkeypatch.setattr("challenge.methods.solvers.data_term.is_circular", lambda physics: False)
    general = wiener(y, physics, spectrum.typical().double(), [1.0, 3.0], iterations=1000)
    torch.testing.assert_close(general, closed, rtol=0, atol=1e-4)


def test_without_blur_and_noise_nothing_changes():
    identity = torch.zeros(1, 1, 3, 3).double()
    identity[..., 1, 1] = 1
    physics = blur(identity, 1e-6, "circular", (3, 32, 40))
    x = scene()
    torch.testing.assert_close(Wiener().double()(physics.A(x), physics), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("boundary", ["circular", "valid", "reflect"])
def test_a_constant_is_kept_up_to_its_corners(boundary):
    """Whatever share of the kernel sees them, and within the few iterations that there are."""
    physics = blur(kernel(), 0.03, boundary, (3, 32, 40))
    x = torch.full((1, 3, 32, 40), 0.7).double()
    x_hat = Wiener().double()(physics.A(x), physics)
    torch.testing.assert_close(x_hat, x, rtol=0, atol=1e-4)


def test_the_mean_passes_whatever_the_strength():
    physics = blur(kernel(), 0.5, "circular", (3, 32, 40))
    y = physics.A(scene())
    for strength in (0.1, 1e6):
        x_hat = Wiener(strength=strength).double()(y, physics)
        torch.testing.assert_close(x_hat.mean((-2, -1)), y.mean((-2, -1)))
    assert x_hat.std((-2, -1)).max() < 1e-2 * y.std((-2, -1)).min()


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    generator = torch.Generator().manual_seed(0)
    noise = [0.1 * torch.randn(3, 96, 120, generator=generator) for _ in range(12)]
    log_s = spectrum.estimate(noise)
    assert (log_s[30:].exp() / 0.01 - 1).abs().max() < 0.1


@pytest.mark.parametrize("size", [(31, 64), (64, 33), (200, 200)])
def test_penalty_is_the_spectrums_inverse_at_any_size(size):
    log_s = spectrum.typical()
    inverse = spectrum.penalty(log_s, *size)
    assert inverse.shape == (size[0], size[1] // 2 + 1)
    assert inverse[0, 0] == 0
    f = torch.fft.rfftfreq(size[1])[-1]
    expected = f**2 / spectrum.TYPICAL
    torch.testing.assert_close(inverse[0, -1], expected, rtol=1e-3, atol=0)


def test_fit_learns_the_spectrum_and_the_learned_one_is_better():
    problem, images = toy_problem(), toy_images(12, side=64)
    method = Wiener()
    before = method.wiener.log_spectrum.clone()
    session = ToySession()
    method.fit(problem, images, None, session)
    assert not torch.equal(method.wiener.log_spectrum, before)
    assert session.lines[-1]["step"] == 12

    def error(model: Wiener) -> float:
        x = torch.stack([images[n] for n in range(8)])
        y, physics = problem.measure(x, range(8))
        return float((model(y, physics) - x).square().mean())

    blurred = torch.stack([images[n] for n in range(8)])
    y, _ = problem.measure(blurred, range(8))
    assert error(method) < error(Wiener())
    assert error(method) < float((y - blurred).square().mean())


def test_several_strengths_are_several_estimates():
    physics = blur(kernel(), 0.03, "circular", (3, 32, 40))
    y = physics.A(scene())
    log_s = spectrum.typical().double()
    both = wiener(y, physics, log_s, [0.1, 10.0])
    for index, strength in enumerate((0.1, 10.0)):
        assert torch.equal(both[index], wiener(y, physics, log_s, [strength])[0])
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        spectrum.estimate([])
