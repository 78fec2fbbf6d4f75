"""The data term and the splitting algorithms, against their definitions and deepinv's."""

from functools import partial

import pytest
import torch
from deepinv.optim import ADMM, HQS, L2, PDCP, PGD, L1Prior
from deepinv.physics import Denoising, Inpainting

from challenge.data.physics.blur import blur
from challenge.methods.solvers import proximal
from challenge.methods.solvers.data_term import DataTerm

BOUNDARIES = ["circular", "valid", "reflect"]
WEIGHT, STEP = 0.01, 0.7


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def setup(boundary="circular", height=16, width=18):
    kernel = draw(1, 2, 1, 5, 5)
    kernel /= kernel.sum((-2, -1), keepdim=True)
    physics = blur(kernel, 0.05, boundary, (3, height, width))
    y = physics.A(draw(0, 2, 3, height, width))
    return y + 0.05 * (draw(2, *y.shape) - 0.5), physics


def soft(threshold, v):
    return v.sign() * (v.abs() - threshold).clamp_min(0)


def weights(shape):
    """A constant R, one per image, and one per frequency."""
    spectral = 0.01 + draw(3, 1, 1, shape[-2], shape[-1] // 2 + 1)
    # The spectrum of a real symmetric operator: R(f) = R(-f) along the first axis.
    spectral = (spectral + spectral.flip(-2).roll(1, -2)) / 2
    return [torch.tensor(0.02).double(), 0.01 + draw(4, 2, 1, 1, 1), spectral]


def filtered(x, weight):
    return torch.fft.irfft2(torch.fft.rfft2(x) * weight, s=x.shape[-2:])


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_gradient_is_that_of_the_data_term(boundary):
    y, physics = setup(boundary)
    x = draw(5, *physics.A_adjoint(y).shape).requires_grad_()
    (expected,) = torch.autograd.grad((physics.A(x) - y).square().sum() / 2, x)
    torch.testing.assert_close(DataTerm(y, physics).gradient(x.detach()), expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_prox_is_where_the_gradient_of_its_objective_is_zero(boundary, which):
    y, physics = setup(boundary)
    data = DataTerm(y, physics)
    v = draw(6, *physics.A_adjoint(y).shape)
    weight = weights(v.shape)[which]
    x = data.prox(v, weight, tolerance=1e-12, iterations=500)
    left = data.gradient(x) + filtered(x - v, weight)
    assert left.abs().max() < 1e-11


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_prox_is_firmly_nonexpansive(boundary):
    y, physics = setup(boundary)
    data = DataTerm(y, physics)
    v, w = draw(7, *physics.A_adjoint(y).shape), draw(8, *physics.A_adjoint(y).shape)
    weight = weights(v.shape)[0]
    p, q = (data.prox(each, weight, tolerance=1e-12, iterations=500) for each in (v, w))
    for image in range(2):
        left, right = (p - q)[image], (v - w)[image]
        assert left.square().sum() <= (left * right).sum() + 1e-12


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_prox_is_deepinvs(boundary):
    y, physics = setup(boundary)
    v = draw(9, *physics.A_adjoint(y).shape)
    x = DataTerm(y, physics).prox(v, torch.tensor(0.5).double(), tolerance=1e-12, iterations=500)
    theirs = physics.prox_l2(v, y, gamma=2.0, max_iter=500, tol=1e-12)
    torch.testing.assert_close(x, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_inverse_solves_its_system(boundary):
    y, physics = setup(boundary)
    data = DataTerm(y, physics)
    right = draw(10, *physics.A_adjoint(y).shape)
    weight = weights(right.shape)[2]
    x = data.inverse(right, weight, tolerance=1e-12, iterations=500)
    found = physics.A_adjoint(physics.A(x)) + filtered(x, weight)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_prox_can_be_differentiated(boundary):
    y, physics = setup(boundary, 10, 11)
    data = DataTerm(y, physics)
    v = draw(11, *physics.A_adjoint(y).shape).requires_grad_()
    weight = torch.tensor(0.03).double().requires_grad_()

    def prox(v, weight):
        return data.prox(v, weight, tolerance=1e-13, iterations=500)

    assert torch.autograd.gradcheck(prox, (v, weight), atol=1e-6, nondet_tol=1e-9, fast_mode=True)


def test_operators_that_are_no_blur_have_a_data_term_too():
    mask = (draw(0, 1, 1, 12, 12) > 0.4).double()
    physics = Inpainting(img_size=(1, 12, 12), mask=mask)
    y, v = mask * draw(1, 1, 1, 12, 12), draw(2, 1, 1, 12, 12)
    x = DataTerm(y, physics).prox(v, torch.tensor(0.1).double(), tolerance=1e-12)
    torch.testing.assert_close(x, (mask * y + 0.1 * v) / (mask + 0.1))


@pytest.mark.parametrize(("name", "theirs"), [("pgd", PGD), ("hqs", HQS), ("admm", ADMM)])
def test_the_algorithms_are_deepinvs(name, theirs):
    y, physics = setup()
    x = physics.A_adjoint(y)
    model = theirs(
        data_fidelity=L2(),
        prior=L1Prior(),
        lambda_reg=WEIGHT,
        stepsize=STEP,
        max_iter=5,
        custom_init=lambda y, physics: {"est": (x.clone(), torch.zeros_like(x))},
    )
    expected = model(y, physics)
    data = DataTerm(y, physics)
    state = proximal.start(x, data, name)
    length = torch.tensor(STEP if name == "pgd" else 1 / STEP).double()
    for _ in range(5):
        state = getattr(proximal, name)(state, data, partial(soft, WEIGHT * STEP), length)
    torch.testing.assert_close(state.x, expected, rtol=0, atol=1e-8)


def test_pdhg_is_deepinvs():
    y, physics = setup()
    x = physics.A_adjoint(y)
    dual_step, step = 0.7, 0.9
    model = PDCP(
        K=physics.A,
        K_adjoint=physics.A_adjoint,
        data_fidelity=L2(),
        prior=L1Prior(),
        lambda_reg=WEIGHT,
        stepsize=step,
        stepsize_dual=dual_step,
        max_iter=5,
        custom_init=lambda y, physics: {"est": (x.clone(), x.clone(), torch.zeros_like(y))},
    )
    expected = model(y, Denoising())  # The blur is its K.
    data = DataTerm(y, physics)
    state = proximal.start(x, data, "pdhg")
    for _ in range(5):
        lengths = (y.new_tensor(dual_step), y.new_tensor(step))
        state = proximal.pdhg(state, data, partial(soft, WEIGHT * step), *lengths)
    # deepinv keeps the circular blur's transfer function in float32.
    torch.testing.assert_close(state.x, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "boundary",
    [
        pytest.param(each, marks=pytest.mark.slow if each != "circular" else ())
        for each in BOUNDARIES
    ],
)
def test_all_but_hqs_find_the_same_minimiser(boundary):
    y, physics = setup(boundary, 12, 13)
    data = DataTerm(y, physics)
    found = {}
    runs = {
        "pgd": (1500, 1.5 * WEIGHT, (1.5,)),
        "admm": (300, WEIGHT / 0.1, (0.1,)),
        "pdhg": (1500, 4 * WEIGHT, (0.25, 4.0)),
    }
    for name, (iterations, threshold, lengths) in runs.items():
        state, prox = proximal.start(physics.A_adjoint(y), data, name), partial(soft, threshold)
        for _ in range(iterations):
            state = getattr(proximal, name)(state, data, prox, *map(y.new_tensor, lengths))
        found[name] = state.x

    def objective(x):
        return (physics.A(x) - y).square().sum() / 2 + WEIGHT * x.abs().sum()

    values = torch.stack([objective(x) for x in found.values()])
    assert (values - values.min()).max() < 1e-3 * values.min()
    state = proximal.start(found["admm"], data, "hqs")
    for _ in range(100):
        state = proximal.hqs(state, data, partial(soft, WEIGHT / 0.1), y.new_tensor(0.1))
    # hqs minimises an envelope of the regulariser instead
    assert objective(state.x) > 1.002 * values.min()
