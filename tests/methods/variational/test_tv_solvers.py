"""The parts of the total-variation solvers: differences, metric, gap."""

import itertools

import pytest
import torch
from deepinv.models import TVDenoiser
from deepinv.physics import Blur, Inpainting
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.data import noise
from challenge.data.images import phantoms
from challenge.data.physics.blur import blur
from challenge.data.physics.parallel_beam import ParallelBeam
from challenge.methods.solvers.descent import every_frequency, power_method
from challenge.methods.transforms.differences import (
    adjoint,
    differences,
    laplacian,
    magnitude,
    project,
    total_variation,
)
from challenge.methods.transforms.structure import transfer_function
from challenge.methods.variational import tv_gap as gaps
from challenge.methods.variational.tv_admm import admm
from challenge.methods.variational.tv_pdhg import metric, pdhg

BOUNDARIES = ["circular", "valid", "reflect"]
few = settings(max_examples=12, deadline=None)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


def setup(seed: int, boundary: str, batch: int = 2, noise: float = 0.05):
    """A blocky scene, its noisy measurement, operator and weights, all in float64."""
    blocks = draw(seed, batch, 3, 3, 4)
    x = blocks.repeat_interleave(5, -2).repeat_interleave(4, -1)[..., :14, :15]
    kernel = draw(seed + 1, batch, 1, 5, 5) ** 3
    physics = blur(kernel / kernel.sum((-2, -1), keepdim=True), noise, boundary, x.shape[1:])
    y = physics.A(x)
    y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).double()
    weight = 0.005 + 0.03 * draw(seed + 2, batch, 1, 1, 1)
    return y, physics, weight


def steps(y, physics, weight, coupled=True):
    transfer = transfer_function(physics, *y.shape[-2:])
    if isinstance(physics, Blur):
        return pdhg(y, physics, weight, coupled=coupled)
    return admm(y, transfer, weight, coupled=coupled)


def last(iterates, iterations):
    return next(itertools.islice(iterates, iterations - 1, None))[0]


def optimum(y, physics, weight, coupled=True, iterations=3000):
    return last(steps(y, physics, weight, coupled), iterations)


@few
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_the_adjoint_of_the_differences(height, width, seed):
    x, p = draw(seed, 2, 3, height, width), draw(seed + 1, 2, 2, 3, height, width)
    torch.testing.assert_close((differences(x) * p).sum(), (x * adjoint(p)).sum())


def test_differences_and_their_norm_are_deepinvs():
    x = draw(0, 2, 3, 7, 9)
    theirs = TVDenoiser.nabla(x)
    assert torch.equal(differences(x), theirs.movedim(-1, 0))
    torch.testing.assert_close(adjoint(differences(x)), TVDenoiser.nabla_adjoint(theirs))
    torch.testing.assert_close(
        total_variation(x, coupled=False), theirs.norm(dim=-1).sum((1, 2, 3))
    )
    coupled = theirs.square().sum((1, -1)).sqrt().sum((1, 2))
    torch.testing.assert_close(total_variation(x, coupled=True), coupled)


@pytest.mark.parametrize("coupled", [True, False])
def test_projection_is_inside_and_leaves_what_is_inside(coupled):
    p = draw(1, 2, 2, 3, 6, 5) - 0.5
    p[..., 0, 0] = 0
    radius = torch.tensor([0.2, 0.4]).double().reshape(2, 1, 1, 1)
    before = magnitude(p, coupled)
    q = project(p.clone(), radius, coupled)
    assert (magnitude(q, coupled) <= radius * (1 + 1e-12)).all()
    inside = (before <= radius).expand_as(p)
    assert torch.equal(q[inside], p[inside])


def test_the_laplacian_is_diagonal_with_a_periodic_boundary():
    x = draw(2, 1, 1, 6, 9)
    direct = 4 * x - sum(x.roll(shift, dim) for shift in (1, -1) for dim in (-2, -1))
    spectral = torch.fft.irfft2(torch.fft.rfft2(x) * laplacian(6, 9, x), s=(6, 9))
    torch.testing.assert_close(spectral, direct)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_transfer_function_and_the_metric(boundary):
    y, physics, _ = setup(3, boundary)
    x = physics.A_adjoint(y)
    if boundary == "circular":
        transfer = transfer_function(physics, *y.shape[-2:])
        product = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])
        torch.testing.assert_close(physics.A(x), product)
    # <v, M v> >= ||A v||^2, for smooth, rough, random and single-pixel images
    m = metric(physics, x)
    rough = x.clone()
    for _ in range(30):
        rough = physics.A_adjoint(physics.A(rough)) / m.mean()
    pixel = torch.zeros_like(x)
    pixel[..., 0, 0] = 1
    for v in (x, torch.ones_like(x), draw(5, *x.shape) - 0.5, rough, pixel):
        left = (v * torch.fft.irfft2(torch.fft.rfft2(v) * m, s=v.shape[-2:])).sum((1, 2, 3))
        assert (left >= physics.A(v).square().sum((1, 2, 3)) * (1 - 1e-9)).all()


@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_without_a_blur_the_metric_is_the_norm_of_a_constant_guess(keep):
    """To the bit: whatever helps other operators must not change a mask's scores."""
    x = draw(3, 2, 1, 12, 10)
    physics = Inpainting((1, 12, 10), mask=(torch.rand(1, 1, 12, 10) < keep).float())

    def normal(v):
        v = torch.fft.irfft2(torch.fft.rfft2(v), s=(12, 10))
        v = physics.A_adjoint(physics.A(v))
        return torch.fft.irfft2(torch.fft.rfft2(v), s=(12, 10))

    norm = power_method(normal, every_frequency(x), iterations=20).reshape(-1, 1, 1, 1)
    assert torch.equal(metric(physics, x), (1.05 * norm).expand(2, 1, 12, 6))


def test_other_operators_have_no_transfer_function():
    mask = (draw(0, 1, 1, 12, 12) > 0.4).double()
    physics = Inpainting(img_size=(1, 12, 12), mask=mask)
    assert transfer_function(physics, 12, 12) is None
    y = physics.A(torch.full((1, 1, 12, 12), 0.4).double())
    weight = torch.full((1, 1, 1, 1), 0.1).double()
    x = last(pdhg(y, physics, weight, coupled=True), 200)
    torch.testing.assert_close(x, torch.full_like(x, 0.4), rtol=0, atol=1e-6)


# --- the gap --------------------------------------------------------------------------------------


@few
@given(st.sampled_from(BOUNDARIES), st.booleans(), st.integers(0, 999))
def test_weak_duality_with_random_dual_points(boundary, coupled, seed):
    y, physics, weight = setup(seed, boundary)
    x = physics.A_adjoint(y)
    inside = 0.5 + 2 * gaps.ROOM * (draw(seed, *x.shape) - 0.5)
    q = draw(seed + 3, *y.shape) * 2 - 1
    p = project(draw(seed + 4, 2, *x.shape) * 2 - 1, weight, coupled)
    # a good point of the box as well as a random one
    near = optimum(y, physics, weight, coupled, 50).clamp(0.5 - gaps.ROOM, 0.5 + gaps.ROOM)
    for scale in (1.0, 0.01):
        lower = gaps.dual(scale * q, p, y, physics)
        for point in (inside, near):
            upper = gaps.objective(point, y, physics, weight, coupled=coupled)
            assert (lower <= upper + 1e-9).all()


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_gap_bounds_the_distance_to_the_optimum_and_vanishes(boundary, coupled):
    y, physics, weight = setup(11, boundary)
    best = optimum(y, physics, weight, coupled, iterations=1500)
    assert (best - 0.5).abs().max() < gaps.ROOM  # so the box holds the minimiser
    lowest = gaps.objective(best, y, physics, weight, coupled=coupled)
    shares = {}
    for count, (x, dual) in zip(range(1, 801), steps(y, physics, weight, coupled), strict=False):
        if count not in (1, 2, 5, 10, 50, 200, 800):
            continue
        q, p = dual()
        assert (magnitude(p, coupled) <= weight * (1 + 1e-9)).all()
        distance, primal = gaps.gap(x, q, p, y, physics, weight, coupled=coupled)
        torch.testing.assert_close(
            primal, gaps.objective(x, y, physics, weight, coupled=coupled), rtol=1e-12, atol=0
        )
        assert (distance >= 0).all()
        assert (distance >= primal - lowest - 1e-9).all()
        shares[count] = (distance / primal).max()
    assert shares[800] < 1e-3
    assert shares[800] < 0.1 * shares[50] < 0.1 * shares[5]


def test_the_box_grows_to_hold_an_estimate_outside_it():
    y, physics, weight = setup(5, "circular")
    x = 4 * draw(6, *y.shape) - 1
    p = project(draw(7, 2, *y.shape), weight, True)
    distance, _ = gaps.gap(x, None, p, y, physics, weight, coupled=True)
    assert (distance >= 0).all()
    room = (x - 0.5).abs().amax((1, 2, 3))
    assert (room > gaps.ROOM).all()
    expected = gaps.objective(x, y, physics, weight, coupled=True) - gaps.dual(
        physics.A(x) - y, p, y, physics, room
    )
    torch.testing.assert_close(distance, expected)


@pytest.mark.parametrize(("views", "span"), [(30, 180), (30, 120)])
def test_projections_are_near_the_minimum_after_thirty_iterations(views, span):
    """Whatever their scale: a step for operators of norm 1 is several times as high."""
    angles = torch.arange(views, dtype=torch.float64)[None] * span / views
    physics = ParallelBeam(angles, (1, 64, 64))
    drawn = phantoms.draw(noise.generator(0, "ellipses", "train", "1"), 64)
    x = torch.from_numpy(drawn).double()[None]
    generator = torch.Generator().manual_seed(0)
    y = physics.A(x)
    y = y + 0.005 * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    weight = torch.tensor(0.0003, dtype=torch.float64).reshape(1, 1, 1, 1)

    def energy(estimate):
        edges = differences(estimate).square().sum(0).sqrt().sum()
        return float(0.5 * (physics.A(estimate) - y).square().sum() + weight.item() * edges)

    iterates = (estimate.clone() for estimate, _ in pdhg(y, physics, weight, coupled=True))
    found = [energy(each) for each in itertools.islice(iterates, 250)]
    assert found[29] < 1.5 * min(found)
