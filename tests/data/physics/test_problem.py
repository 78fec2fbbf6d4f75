"""The simulator: a sample number decides everything about its measurement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.data import noise
from challenge.data.challenges.challenge import open_challenge
from challenge.data.physics import camera_shake
from challenge.data.physics.problem import Problem

LAW = settings(max_examples=20, deadline=None)
KERNELS = camera_shake.camera_shake(9, 4, 0).astype(np.float32)


def problem(boundary: str = "circular", sigma: tuple[float, float] = (0.01, 0.05)) -> Problem:
    return Problem.of_kernels(KERNELS, sigma, boundary=boundary, key=bytes(range(32)))


def images(count: int, side: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, side, side + 3, generator=torch.Generator().manual_seed(0))


@LAW
@given(
    st.sampled_from(["circular", "valid", "reflect"]),
    st.sampled_from([(0.03, 0.03), (0.01, 0.05)]),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=4),
)
def test_every_sample_is_as_if_it_were_alone(boundary, sigma, samples):
    p, x = problem(boundary, sigma), images(len(samples))
    y, physics = p.measure(x, samples)
    assert physics.A_adjoint(y).shape == x.shape
    for index, sample in enumerate(samples):
        alone, its = p.measure(x[index : index + 1], [sample])
        torch.testing.assert_close(alone[0], y[index], rtol=0, atol=1e-6)
        own = index if len(physics.noise_model.sigma) > 1 else 0
        assert its.noise_model.sigma[0] == physics.noise_model.sigma[own]
        own = index if len(physics.filter) > 1 else 0
        assert torch.equal(its.filter[0], physics.filter[own])


@LAW
@given(st.permutations(range(5)))
def test_the_order_of_a_batch_does_not_matter(order):
    p, x = problem(), images(5)
    y, _ = p.measure(x, range(5))
    shuffled, _ = p.measure(x[order], order)
    torch.testing.assert_close(shuffled, y[order], rtol=0, atol=1e-6)


def test_different_samples_have_different_noise_kernels_and_levels():
    p, x = problem(), images(1).expand(30, -1, -1, -1)
    y, physics = p.measure(x, range(30))
    residual = y - physics.A(x)
    assert len({residual[index].numpy().tobytes() for index in range(30)}) == 30
    assert len({kernel.numpy().tobytes() for kernel in physics.filter}) == len(KERNELS)
    assert len(set(physics.noise_model.sigma.tolist())) == 30


@pytest.mark.parametrize("boundary", ["circular", "valid", "reflect"])
def test_y_is_the_blurred_image_plus_noise_of_its_level(boundary):
    p = problem(boundary, (0.02, 0.02))
    x = images(2, 96)
    y, physics = p.measure(x, [5, 6])
    n = (y - physics.A(x)) / 0.02
    assert abs(n.std() - 1) < 0.03
    expected = noise.normal(p.key, "train", 6, y.shape[1:])
    torch.testing.assert_close(n[1], torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_measuring_draws_nothing_from_the_global_generators():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    problem().measure(images(2), [0, 1])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("shape", "count"), [((2, 1, 16, 16), 2), ((2, 3, 16, 16), 3), ((3, 16, 16), 3)]
)
def test_shapes_that_do_not_fit_are_a_bug(shape, count):
    with pytest.raises(ValueError, match="do not fit"):
        problem().measure(torch.zeros(shape), range(count))


def test_a_stored_measurement_is_draw_0_of_its_identity():
    p = problem("valid", (0.01, 0.05))
    truth = images(1)[0].numpy()
    measurement = p.measure_stored(truth, "0007", p.key)
    generator = noise.choices(p.key, "0007", 0)
    index, level = int(generator.integers(len(KERNELS))), 0.01 + 0.04 * generator.random()
    assert measurement.noise == {"kind": "gaussian", "sigma": level}
    assert np.array_equal(measurement.operator["kernel"], KERNELS[index])
    same = Problem.of_kernels(KERNELS[index : index + 1], level, boundary="valid", key=p.key)
    y, physics = same.measure(torch.from_numpy(truth)[None], [0])
    n = torch.from_numpy(noise.normal(p.key, "0007", 0, y.shape[1:]))
    expected = physics.A(torch.from_numpy(truth)[None])[0] + level * n
    torch.testing.assert_close(torch.from_numpy(measurement.y), expected, rtol=0, atol=1e-6)
    assert measurement.shape == (3, 24, 27)


def test_the_problem_of_a_prepared_challenge(small):
    p = open_challenge(small.public.path).problem
    assert (p.name, p.channels, p.operator.boundary) == ("small", 3, "circular")
    assert p.noise.sigma == 0.03
    assert p.arrays["kernels"].shape == (1, 25, 25)
    assert p.key == noise.public_key(0, "small", "train")
