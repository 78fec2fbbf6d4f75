"""Computed tomography against closed forms: the Radon transform and its inversion."""

import json
import re

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data.physics import parallel_beam, projector
from challenge.data.physics.ct import CT
from challenge.data.physics.parallel_beam import ParallelBeam
from challenge.methods.transforms.structure import norm_squared
from challenge.methods.variational.fbp import FBP

SIDE = 64


def turn(views, span=180.0):
    return np.arange(views) * span / views


def strips(side=SIDE):
    count = projector.detectors(side, side)
    return np.arange(count) - (count - 1) / 2


def grid(side=SIDE):
    v, u = np.mgrid[:side, :side] - (side - 1) / 2
    return u, v


@pytest.mark.parametrize("shape", [(40, 40), (24, 37), (37, 24), (1, 9)])
def test_every_angle_has_the_mass_of_the_image(shape):
    """To rounding, at every angle, for any image: the strips miss nothing."""
    x = np.random.default_rng(0).random(shape)
    angles = np.concatenate([turn(23), [0.0, 45.0, 90.0, 135.0, 179.999, 1e-7]])
    seen = projector.matrix(angles, *shape) @ x.ravel()
    mass = seen.reshape(len(angles), -1).sum(1) * max(shape)
    np.testing.assert_allclose(mass, x.sum(), rtol=1e-7)


@pytest.mark.parametrize("s", [3.0, 6.0])
def test_the_projections_of_a_gaussian_are_gaussians(s):
    """About the projection of its centre; the error is of second order in the size of a pixel.

    Pixels and strips are means over at most a pixel's width each: at most s^2 + 1/4 in place of
    the square of its width, 1 / (8 s^2) of its height.
    """
    column, row = 5.0, -3.0
    u, v = grid()
    x = np.exp(-((u - column) ** 2 + (v - row) ** 2) / (2 * s**2))
    angles = turn(36)
    found = (projector.matrix(angles, SIDE, SIDE) @ x.ravel()).reshape(36, -1) * SIDE
    theta = np.deg2rad(angles)[:, None]
    centre = column * np.cos(theta) + row * np.sin(theta)
    height = s * np.sqrt(2 * np.pi)
    exact = height * np.exp(-((strips() - centre) ** 2) / (2 * s**2))
    assert np.abs(found - exact).max() < 0.13 / s**2 * height


def disk(radius, views=180, span=180.0):
    """The sinogram of a disk about the centre, by its chords, and its angles."""
    chords = 2 * np.sqrt((radius**2 - strips() ** 2).clip(0)) / SIDE
    return np.tile(chords, (1, views, 1)).astype(np.float32), turn(views, span)


def test_filtered_backprojection_of_a_disk_is_the_disk():
    """To 3 % inside and 1 % outside, but for three pixels about its edge."""
    y, angles = disk(20)
    x = projector.fbp(y, angles, SIDE, SIDE)[0]
    radius = np.hypot(*grid())
    assert np.abs(x[radius < 17] - 1).max() < 0.03
    assert np.abs(x[(radius > 23) & (radius < 31)]).max() < 0.01


def rings(x):
    """Frequencies beside the highest one, their directions in degrees, and the spectrum of x."""
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None]
    f = 2 * np.hypot(rows, columns)
    return f, np.rad2deg(np.arctan2(rows, columns)) % 180, np.fft.fft2(np.asarray(x))


def filtered(y, angles, **knobs):
    physics = ParallelBeam(torch.from_numpy(angles)[None], (1, SIDE, SIDE))
    return FBP(**knobs)(torch.from_numpy(y)[None], physics)[0, 0].numpy()


@pytest.mark.parametrize(
    ("window", "cutoff"),
    [("ram_lak", 0.5), ("cosine", 1.0), ("cosine", 0.6), ("hann", 1.0), ("hann", 0.6)],
)
def test_windows_take_what_they_say_of_each_frequency(window, cutoff):
    """Of the image, since the spectrum of a projection is a slice of that of the image."""
    angles = turn(90)
    y = np.random.default_rng(0).standard_normal((1, 90, len(strips()))).astype(np.float32)
    f, _, whole = rings(filtered(y, angles))
    found = rings(filtered(y, angles, window=window, cutoff=cutoff))[2]
    t = f / cutoff
    expected = {
        "ram_lak": np.ones_like(t),
        "cosine": np.cos(np.pi * t / 2),
        "hann": np.cos(np.pi * t / 2) ** 2,
    }[window] * (t <= 1)
    for low in np.arange(1, 9) / 10:
        if window == "ram_lak" and abs(low + 0.05 - cutoff) < 0.1:
            continue  # a sharp edge, smeared by the pixels
        ring = (f > low) & (f <= low + 0.1)
        share = (found[ring] * whole[ring].conj()).real.sum() / np.square(np.abs(whole[ring])).sum()
        assert share == pytest.approx(expected[ring].mean(), abs=0.06), low


@pytest.mark.parametrize("window", ["ram_lak", "cosine", "hann"])
def test_windows_leave_the_mean(window):
    """The lowest frequencies: a wide Gaussian comes back, to 2 % of its height."""
    x = np.exp(-(np.hypot(*grid()) ** 2) / (2 * 8.0**2))
    angles = turn(90)
    y = (projector.matrix(angles, SIDE, SIDE) @ x.ravel()).reshape(1, 90, -1)
    assert np.abs(filtered(y, angles, window=window) - x).max() < 0.02


def test_a_limited_angle_has_the_frequencies_that_were_seen():
    """Those of its directions as they are, hardly any of the others."""
    u, v = grid()
    x = np.exp(-((u - 4) ** 2 + v**2) / (2 * 3.0**2))
    angles = turn(80, 120.0)
    y = (projector.matrix(angles, SIDE, SIDE) @ x.ravel()).reshape(1, 80, -1)
    f, direction, found = rings(filtered(y, angles))
    truth = rings(x)[2]
    seen = (direction > 15) & (direction < 105) & (f > 0.1) & (f < 0.3)
    unseen = (direction > 130) & (direction < 170) & (f > 0.1) & (f < 0.3)
    assert np.linalg.norm((found - truth)[seen]) < 0.1 * np.linalg.norm(truth[seen])
    assert np.linalg.norm(found[unseen]) < 0.2 * np.linalg.norm(truth[unseen])


def test_both_filtered_backprojections_are_one():
    """In numpy, for pictures, and of the operator, in torch."""
    y, angles = disk(20, 30)
    physics = ParallelBeam(torch.from_numpy(angles)[None], (1, SIDE, SIDE))
    found = physics.fbp(torch.from_numpy(y)[None])[0].numpy()
    np.testing.assert_allclose(found, projector.fbp(y, angles, SIDE, SIDE), atol=1e-5)


def test_derivatives_are_exact():
    """Of 1/2 ||A x - y||^2: the gradient is A^T (A x - y), the second derivative A^T A."""
    physics = ParallelBeam(torch.from_numpy(turn(9))[None], (1, 8, 10))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 8, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(2, 1, 9, 13, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(0.5 * (physics.A(x) - y).square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, physics.A_adjoint(physics.A(x) - y))
    (second,) = torch.autograd.grad(gradient, x, torch.ones_like(x))
    torch.testing.assert_close(second, physics.A_adjoint(physics.A(torch.ones_like(x))))


def test_another_geometry_for_every_image():
    """Angles of shape (B, V)."""
    both = torch.from_numpy(np.stack([turn(7), turn(7, 90.0)]))
    x = torch.rand(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = ParallelBeam(both, (3, 12, 12))
    y = together.A(x)
    for index in range(2):
        alone = ParallelBeam(both[index : index + 1], (3, 12, 12))
        assert torch.equal(alone.A(x[index : index + 1])[0], y[index])
        assert torch.equal(alone.A_adjoint(y[index : index + 1])[0], together.A_adjoint(y)[index])
        part = together.fbp(y)[index]
        torch.testing.assert_close(alone.fbp(y[index : index + 1])[0], part)


def test_equal_angles_of_a_batch_are_one_product(monkeypatch):
    """Stored measurements bring their angles along, image by image."""
    products, apply = [], parallel_beam._Product.apply
    monkeypatch.setattr(
        parallel_beam._Product, "apply", lambda x, *rest: products.append(len(x)) or apply(x, *rest)
    )
    angles = torch.from_numpy(turn(7))[None]
    x = torch.rand(3, 2, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = ParallelBeam(angles.expand(3, 7), (2, 12, 12)).A(x)
    assert products == [6]
    assert torch.equal(y, ParallelBeam(angles, (2, 12, 12)).A(x))
    apart = torch.cat([ParallelBeam(angles, (2, 12, 12)).A(each[None]) for each in x])
    torch.testing.assert_close(y, apart, rtol=0, atol=1e-14)


def test_the_normal_operator_is_like_the_convolution_it_is_said_to_be():
    """Waves come back with its factor, away from the highest frequencies."""
    physics = ParallelBeam(torch.from_numpy(turn(96))[None], (1, SIDE, SIDE))
    spectrum = physics.likeness(SIDE, SIDE)[0, 0]
    u, v = (torch.from_numpy(each) for each in grid())
    window = torch.exp(-(u**2 + v**2) / (2 * 9.0**2))
    for row, column in ((0, 6), (8, 8), (12, 0)):
        x = window * torch.cos(2 * torch.pi * (column * u + row * v) / SIDE)
        back = physics.A_adjoint(physics.A(x[None, None]))[0, 0]
        factor = (back * x).sum() / (x * x).sum()
        assert factor == pytest.approx(float(spectrum[row, column]), rel=0.05)


@pytest.mark.parametrize(
    ("angles", "cause", "remedy"),
    [
        ([0, 3.14159], "must be in degrees", "if they are radians, give [0, 180]"),
        ([-1.5708, 1.5708], "must be in degrees", "[-90, 90]"),
        ([0, 6.2832], "must be in degrees", "[0, 180]"),
        ([-3.1416, 3.1416], "must be in degrees", "[-180, 0]"),
        ([0.5, 0.7], "must be in degrees", "[28.65, 40.11]"),
        ([180, 0], "must be written [first, last]", "[0, 180]"),
        ([0, 360], "at most 180 degrees (they span 360)", "[0, 180]: parallel rays are the same"),
        ([-90, 91], "at most 180 degrees (they span 181)", "[-90, 90]"),
    ],
)
def test_angles_in_another_unit_are_told(angles, cause, remedy):
    """And what is proposed in their place is taken."""

    def read(angles):
        return TypeAdapter(schema.Operator).validate_python({"kind": "ct", "angles": angles})

    with pytest.raises(ValidationError) as caught:
        read(angles)
    (error,) = caught.value.errors()
    assert cause in error["ctx"]["cause"]
    assert remedy in error["ctx"]["remedy"]
    proposed = re.search(r"\[.*?\]", error["ctx"]["remedy"])
    assert read(json.loads(proposed[0])).kind == "ct"


@pytest.mark.parametrize(("height", "width", "span"), [(24, 24, 180), (24, 24, 60), (16, 25, 180)])
def test_the_norm_is_found(height, width, span):
    """To 1 %, for any shape and range; of a square it is about views / side."""
    angles = turn(20, span)
    exact = np.linalg.norm(projector.matrix(angles, height, width).toarray(), 2) ** 2
    physics = ParallelBeam(torch.from_numpy(angles)[None], (1, height, width))
    found = norm_squared(physics, torch.zeros(2, 3, height, width, dtype=torch.float64))
    assert found.shape == (2, 1, 1, 1)
    np.testing.assert_allclose(found.ravel(), exact, rtol=0.01)
    if height == width:
        assert exact == pytest.approx((0.97 if span == 180 else 1.05) * 20 / 24, rel=0.01)


@pytest.mark.parametrize("bits", [32, 64])
def test_matrices_have_the_size_that_is_said(bits):
    """18 bytes times pixels times views in single precision, 27 in double."""
    dtype = getattr(torch, f"float{bits}")
    key = turn(20).tobytes()
    for found in parallel_beam._matrices(key, 64, 64, dtype, torch.device("cpu")):
        parts = found.values(), found.col_indices(), found.crow_indices()
        size = sum(each.nbytes for each in parts) / (20 * 64 * 64)
        assert size == pytest.approx({32: 18, 64: 27}[bits], rel=0.05)


def test_too_large_a_matrix_is_refused():
    config = TypeAdapter(schema.Operator).validate_python({"kind": "ct", "views": 2000})
    with pytest.raises(UserError, match="too large a matrix; give at most 286, or a smaller"):
        CT().load(config, (1, 1024, 1024), None, lambda _: None)


@pytest.mark.parametrize(
    "angles",
    [np.zeros(0, np.float32), np.zeros((2, 3), np.float32), np.zeros(3), "no array",
     np.array([0, np.nan], np.float32)],
    ids=str,
)  # fmt: skip
def test_stored_angles_are_checked(angles):
    assert "`angles`" in CT().wrong({"angles": angles}, (1, 8, 8))


@pytest.mark.parametrize(("side", "views"), [(12, 20), (16, 5)])
def test_the_pseudo_inverse_is_that_of_the_matrix_with_noise_too(side, views):
    """Full rank, and fewer measurements than pixels; every image of a batch by its own angles."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.stack([torch.from_numpy(turn(views)) + shift for shift in (0.0, 3.0)])
    physics = ParallelBeam(angles, (1, side, side))
    y = physics.A(torch.rand(2, 1, side, side, generator=generator, dtype=torch.float64))
    y += 0.01 * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    found = physics.A_dagger(y, tol=1e-13)
    for each, sinogram, x in zip(angles, y, found, strict=True):
        inverse = np.linalg.pinv(projector.matrix(each.numpy(), side, side).toarray())
        expected = inverse @ sinogram.ravel().numpy()
        np.testing.assert_allclose(x.ravel(), expected, rtol=0, atol=1e-6 * abs(expected).max())
    assert physics.A_dagger(y.float()).dtype == torch.float32
    few = physics.A_dagger(y, max_iter=3)
    assert few.norm() < 0.9 * found.norm(), "`max_iter` is read"


def test_the_pseudo_inverse_has_the_transposed_ones_derivative():
    physics = ParallelBeam(torch.from_numpy(turn(9))[None], (1, 6, 6))
    y = torch.rand(1, 1, 9, projector.detectors(6, 6), dtype=torch.float64, requires_grad=True)
    x = physics.A_dagger(y, tol=1e-13)
    weights = torch.rand(x.shape, dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * x).sum(), y)
    inverse = np.linalg.pinv(projector.matrix(turn(9), 6, 6).toarray())
    np.testing.assert_allclose(found.ravel(), inverse.T @ weights.ravel().numpy(), atol=1e-7)
    with pytest.raises(ValueError, match="there is `lsqr`"):
        physics.A_dagger(y, solver="CG")
