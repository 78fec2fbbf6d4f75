"""The proximal map of the data term, over every operator family: it solves its equation."""

import pytest
import torch

from challenge.methods.contract_test import COLOURED, toy_images, toy_problem
from challenge.methods.solvers import data_term
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms.noise_level import LOWEST, noise_level

OPERATORS = [(kind, None) for kind in COLOURED]
OPERATORS += [("blur", "valid"), ("blur", "reflect"), ("downsampling", "reflect")]


def scene(operator, boundary=None, size=(24, 32)):
    problem = toy_problem(boundary=boundary, operator=operator)
    x = torch.stack(
        [each[:, : size[0], : size[1]] for each in map(toy_images(2).__getitem__, (0, 1))]
    )
    y, physics = problem.measure(x, [0, 1])
    return x.double(), y.double(), physics


def weights(height, width):
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    smooth = 0.001 + (rows**2 + columns**2).double() * torch.tensor([1.0, 2, 3])[:, None, None]
    free = smooth.clone()
    free[:, 0, 0] = 0  # as where the mean of an image is free
    return {
        "constant": torch.full((1, 1, 1, 1), 0.02).double(),
        "spectral": smooth[None],
        "free": free[None],
    }


@pytest.mark.parametrize("kind", ["constant", "spectral", "free"])
@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_prox_solves_its_equation(operator, boundary, kind):
    """(A^T A + R) prox(v) = A^T y + R v."""
    x, y, physics = scene(operator, boundary)
    weight = weights(*x.shape[-2:])[kind]
    v = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)).double()
    data = DataTerm(y, physics)
    found = data.prox(v, weight, tolerance=1e-9, iterations=400)

    def filtered(u):
        return torch.fft.irfft2(torch.fft.rfft2(u) * weight, s=u.shape[-2:])

    right = data.back + filtered(v)
    left = physics.A_adjoint(physics.A(found)) + filtered(found)
    # Kernels are in single precision, whose spectra deepinv and we compute in two ways.
    assert (left - right).norm() <= 3e-6 * right.norm()
    torch.testing.assert_close(
        data.gradient(x), physics.A_adjoint(physics.A(x) - y), rtol=0, atol=1e-6
    )


def test_of_a_cut_blur_what_explains_the_measurement_stays():
    """At any number of iterations; what few of them have from elsewhere is not there yet."""
    x, y, physics = scene("blur", "valid")
    data = DataTerm(physics.A(x), physics)
    weight = weights(*x.shape[-2:])["spectral"]
    torch.testing.assert_close(data.prox(x, weight, iterations=1), x, rtol=0, atol=1e-7)
    right = data.back + torch.fft.irfft2(torch.fft.rfft2(x) * weight, s=x.shape[-2:])
    assert (data.inverse(right, weight, iterations=1) - x).abs().max() > 0.1


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_a_cut_blur_is_continued_at_the_border_alone(operator, boundary):
    x, y, physics = scene(operator, boundary)
    data = DataTerm(y, physics)
    if boundary != "valid" or operator != "blur":
        assert data.continued is None
        return
    lost = x.shape[-1] - y.shape[-1]
    inner = (..., slice(lost, -lost), slice(lost, -lost))
    assert lost > 0
    torch.testing.assert_close(data.continued[inner], data.back[inner], rtol=0, atol=1e-7)
    for value in (0.2, 0.7):
        same = DataTerm(physics.A(torch.full_like(x, value)), physics)
        assert (same.continued - value).abs().max() < 1e-5
        assert (same.back - value).abs().max() > 0.1


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_prox_has_products_with_its_jacobian(operator, boundary):
    """J w, reverse mode twice, is prox(v + w) - prox(v): the map is affine."""
    _, y, physics = scene(operator, boundary)
    data = DataTerm(y, physics, tolerance=1e-10, iterations=400)
    weight = weights(*data.size)["spectral"]
    generator = torch.Generator().manual_seed(1)
    v, w = (torch.randn(data.back.shape, generator=generator).double() for _ in range(2))
    leaf, dual = v.clone().requires_grad_(), torch.zeros_like(v, requires_grad=True)
    (back,) = torch.autograd.grad((data.prox(leaf, weight) * dual).sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad((back * w).sum(), dual)
    torch.testing.assert_close(
        product, data.prox(v + w, weight) - data.prox(v, weight), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("operator", ["downsampling", "compose", "inpainting"])
def test_a_closed_form_is_what_conjugate_gradients_find(operator, monkeypatch):
    x, y, physics = scene(operator)
    weight = weights(*x.shape[-2:])["constant"]
    closed = DataTerm(y, physics).regularised(weight)
    monkeypatch.setattr(data_term, "decimation", lambda physics: None)
    general = DataTerm(y, physics)
    general.mask = None
    found = general.regularised(weight, tolerance=1e-10, iterations=400)
    torch.testing.assert_close(found, closed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 32), (21, 27)])
@pytest.mark.parametrize("kind", ["constant", "spectral", "free"])
def test_magnetic_resonance_has_a_closed_form(kind, size):
    """That of conjugate gradients, with its derivatives, exact where nothing was measured."""
    problem = toy_problem(operator="mri")
    x = torch.stack([toy_images(2, 2)[index][:, : size[0], : size[1]] for index in range(2)])
    y, physics = problem.measure(x, [0, 1])
    y = y.double()
    field = weights(*size)[kind][:, :1]
    theta = torch.ones(2).double().requires_grad_()  # symmetric in f and -f, as every R is
    weight = theta[0] * field + theta[1] * field**2
    generator = torch.Generator().manual_seed(1)
    v, seen = (torch.rand(x.shape, generator=generator).double() for _ in range(2))
    closed, general = DataTerm(y, physics), DataTerm(y, physics)
    assert closed.sampled is not None
    general.sampled = None
    exact = {"tolerance": 1e-12, "iterations": 500}
    asked = {
        "prox": lambda data: data.prox(v, weight, **exact),
        "regularised": lambda data: data.regularised(weight, **exact),
        "inverse": lambda data: data.inverse(v, weight + 1e-3, **exact),
    }
    for name, found in asked.items():
        one, other = found(closed), found(general)
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6, msg=name)
        if kind != "free":  # else the mean alone decides the derivative, by a division by R = 0
            slopes = (
                torch.autograd.grad((each * seen).sum(), theta, retain_graph=True)[0]
                for each in (one, other)
            )
            torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4, msg=name)
    tiny = torch.full((1, 1, 1, 1), 1e-12)
    found = DataTerm(y.float(), physics).prox(v.float(), tiny)
    known = physics.A_adjoint(y.float())
    expected = v.float() - physics.A_adjoint(physics.A(v.float())) + known
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_prox_is_differentiated(operator, boundary):
    """The slope along a direction of v and of R equals central differences."""
    x, y, physics = scene(operator, boundary, (16, 20))
    base = weights(16, 20)["spectral"]
    v = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)).double()
    probe = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)).double()

    def value(t):
        found = DataTerm(y, physics).prox(
            v + t * probe, base * t.exp(), tolerance=1e-11, iterations=600
        )
        return (found * probe).sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(t), t)
    step = 1e-4
    with torch.no_grad():
        central = (value(torch.tensor(step).double()) - value(torch.tensor(-step).double())) / (
            2 * step
        )
    assert float(slope) == pytest.approx(float(central), rel=1e-4)


def test_colours_may_have_weights_of_their_own_on_odd_sizes():
    """The closed form of downsampling by 3, whose grids have odd sides."""
    problem = toy_problem(operator="downsampling")
    problem = type(problem)(
        "toy", 3, problem.operator.model_copy(update={"factor": 3}), problem.arrays, problem.noise,
        b"toy", 0,
    )  # fmt: skip
    x = toy_images(1)[0][None, :, :33, :45]
    y, physics = problem.measure(x, [0])
    y = y.double()
    weight = weights(33, 45)["spectral"]
    data = DataTerm(y, physics)
    assert data.factor == 3
    found = data.regularised(weight)
    left = physics.A_adjoint(physics.A(found))
    left = left + torch.fft.irfft2(torch.fft.rfft2(found) * weight, s=(33, 45))
    assert (left - data.back).norm() <= 3e-6 * data.back.norm()


@pytest.mark.parametrize("operator", ["identity", "inpainting", "downsampling"])
def test_the_noise_level_is_that_of_the_residual(operator):
    from challenge.configs.schema import physics as schema

    family = toy_problem(operator=operator)
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.3
    levels = [schema.GaussianNoise(sigma=0.05)]
    if operator != "downsampling":
        levels += [
            schema.PoissonNoise(kind="poisson", gain=0.02),
            schema.PoissonGaussianNoise(kind="poisson_gaussian", gain=0.01, sigma=0.03),
        ]
    for level in levels:
        y, physics = family.at(level).measure(x, [0, 1])
        seen = physics.A(torch.ones_like(x)) > 0.5
        for index in range(2):
            found = noise_level(y, physics).expand(2, 1, 1, 1)[index]
            residual = (y - physics.A(x))[index][seen.expand_as(y)[index]]
            assert float(found) == pytest.approx(float(residual.std()), rel=0.05)
    silent, physics = family.at(schema.GaussianNoise(sigma=(0, 1e-12))).measure(x, [0, 1])
    assert noise_level(silent, physics).min() == pytest.approx(LOWEST)


@pytest.mark.parametrize("sigma", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_less_noise_makes_no_worse_estimate(operator, boundary, sigma):
    """As the methods ask for it, however little noise there is: ranges of levels begin at 0."""
    from challenge.configs.schema import physics as schema
    from challenge.methods.solvers.wiener_filter import WienerFilter

    problem = toy_problem(boundary=boundary, operator=operator)
    x = toy_images(1)[0][None, :, :48, :48]

    def psnr(level):
        y, physics = problem.at(schema.GaussianNoise(sigma=level)).measure(x, [0])
        found = WienerFilter()(DataTerm(y, physics))[0]
        crop = problem.crop
        error = (found.clamp(0, 1) - x)[..., crop : 48 - crop, crop : 48 - crop]
        return -10 * float(error.square().mean().log10())

    assert psnr(sigma) > psnr(0.03) - 0.5


def test_the_level_is_that_of_the_measurement_in_every_basis():
    """Differences of colours are about 0: photons counted there would be too few."""
    from challenge.configs.schema import physics as schema
    from challenge.methods.transforms.cosine import to_opponent

    photons = schema.PoissonNoise(kind="poisson", gain=0.02)
    y, physics = toy_problem().at(photons).measure(torch.stack([toy_images(1)[0]]), [0])
    level = noise_level(y, physics)
    data = DataTerm(to_opponent(y), physics, level)
    assert torch.equal(data.sigma, level)
    assert not torch.allclose(DataTerm(to_opponent(y), physics).sigma, level, rtol=0.05)
