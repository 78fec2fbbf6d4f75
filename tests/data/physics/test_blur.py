"""The operators are true convolutions with exact adjoints, whatever the boundary."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from deepinv.physics import BlurFFT
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.errors import UserError
from challenge.data.physics import blur
from challenge.data.physics.measurements import of_blur
from challenge.data.physics.problem import tensors

BOUNDARIES = ("circular", "valid", "reflect")
LAW = settings(max_examples=30, deadline=None)


def kernels(seed: int, count: int, side: int) -> torch.Tensor:
    k = torch.from_numpy(np.random.default_rng(seed).random((count, 1, side, side)))
    return k / k.sum((-2, -1), keepdim=True)


def image(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@st.composite
def cases(draw):
    side = draw(st.sampled_from([3, 5, 7, 13, 25]))
    batch = draw(st.integers(1, 3))
    sizes = st.integers(max(side, 8), 40)
    return {
        "boundary": draw(st.sampled_from(BOUNDARIES)),
        "kernel": kernels(draw(st.integers(0, 999)), draw(st.sampled_from([1, batch])), side),
        "shape": (batch, draw(st.sampled_from([1, 3])), draw(sizes), draw(sizes)),
    }


def build(case) -> torch.nn.Module:
    return blur.blur(case["kernel"], 0.03, case["boundary"], case["shape"][1:])


@LAW
@given(cases())
def test_the_adjoint_is_the_adjoint(case):
    """<A x, u> = <x, A^T u> in float64, and A^T u has the shape of the image."""
    physics, x = build(case), image(1, *case["shape"])
    y = physics.A(x)
    u = image(2, *y.shape)
    back = physics.A_adjoint(u)
    assert back.shape == x.shape
    torch.testing.assert_close((y * u).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


@LAW
@given(cases())
def test_it_is_the_convolution_that_scipy_computes(case):
    physics, x = build(case), image(1, *case["shape"])
    y, side = physics.A(x).numpy(), case["kernel"].shape[-1]
    mode = {"circular": "wrap", "reflect": "mirror"}.get(case["boundary"])
    for b in range(len(x)):
        k = case["kernel"][b if len(case["kernel"]) > 1 else 0, 0].numpy()
        for c in range(x.shape[1]):
            plane = x[b, c].numpy()
            if mode is None:
                expected = scipy.signal.convolve(plane, k, mode="valid", method="direct")
            else:
                expected = scipy.ndimage.convolve(plane, k, mode=mode)
            np.testing.assert_allclose(y[b, c], expected, atol=1e-12)
    lost = side - 1 if mode is None else 0
    assert y.shape[2:] == (x.shape[2] - lost, x.shape[3] - lost)


@LAW
@given(cases())
def test_a_batch_is_its_images(case):
    physics, x = build(case), image(1, *case["shape"])
    y = physics.A(x)
    for b in range(len(x)):
        one = case["kernel"][b if len(case["kernel"]) > 1 else 0][None]
        alone = blur.blur(one, 0.03, case["boundary"], case["shape"][1:])
        torch.testing.assert_close(alone.A(x[b : b + 1])[0], y[b], rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_an_asymmetric_kernel_moves_the_image_its_way(boundary):
    """A true convolution: a kernel with its weight below the centre moves the image down."""
    k = torch.zeros(1, 1, 5, 5)
    k[0, 0, 4, 2] = 1
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 8, 8] = 1
    y = blur.blur(k, 0.03, boundary, (1, 16, 16)).A(x)
    offset = 2 if boundary == "valid" else 0
    assert y[0, 0, 10 - offset, 8 - offset] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_float32_stays_float32_and_constants_stay_constant(boundary):
    physics = blur.blur(kernels(0, 1, 7).float(), 0.03, boundary, (3, 20, 24))
    y = physics.A(torch.full((2, 3, 20, 24), 0.25))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.full_like(y, 0.25))


def test_circular_is_an_fft_blur_with_its_closed_form():
    """`prox_l2` of the circular operator solves its normal equation, with a kernel per image."""
    k, x = kernels(0, 2, 7), image(1, 2, 3, 20, 21)
    physics = blur.blur(k, 0.03, "circular", (3, 20, 21))
    assert isinstance(physics, BlurFFT)
    assert tuple(physics.img_size) == (3, 20, 21)
    y, gamma = physics.A(x), 2.0
    z = image(3, *x.shape)
    p = physics.prox_l2(z, y, gamma)
    residual = gamma * physics.A_adjoint(physics.A(p) - y) + p - z
    assert residual.abs().max() < 1e-10


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("sigma", [0.03, torch.tensor([0.01, 0.02])])
def test_the_noise_level_has_leading_size_1_or_batch(boundary, sigma):
    level = blur.blur(kernels(0, 2, 3), sigma, boundary, (1, 8, 8)).noise_model.sigma
    assert level.shape == ((2,) if isinstance(sigma, torch.Tensor) else (1,))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_kernel_larger_than_the_image_is_refused(boundary):
    with pytest.raises(UserError) as caught:
        blur.blur(kernels(0, 1, 9), 0.03, boundary, (3, 40, 8))
    assert str(caught.value) == (
        "kernel: its 9x9 pixels are larger than the image of 40x8; "
        "use larger images or a smaller kernel"
    )


def test_an_unknown_boundary_is_a_bug():
    with pytest.raises(ValueError, match="replicate"):
        blur.blur(kernels(0, 1, 3), 0.03, "replicate", (1, 8, 8))


def test_tensors_of_a_measurement():
    y = np.random.default_rng(0).random((3, 10, 12), dtype=np.float32)
    kernel = np.full((3, 3), 1 / 9, dtype=np.float32)
    measurement = of_blur("a", y, kernel, 0.02, "valid", (3, 12, 14))
    batch, physics = tensors(measurement)
    assert batch.shape == (1, 3, 10, 12)
    assert physics.A_adjoint(batch).shape == (1, 3, 12, 14)
    assert physics.noise_model.sigma.tolist() == pytest.approx([0.02])
    batch.zero_()
    assert measurement.y.any(), "the measurement itself is not touched"
