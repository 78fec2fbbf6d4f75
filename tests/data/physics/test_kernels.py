"""Kernels of every kind end in one form, and what is no kernel is refused by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from challenge.configs.errors import UserError
from challenge.configs.schema.physics import DiskKernel, GaussianKernel, MotionKernel, UniformKernel
from challenge.configs.schema.section import Section
from challenge.data.physics import camera_shake, kernels

LAW = settings(max_examples=40, deadline=None)


def built(config: Section, notices: list[str] | None = None) -> np.ndarray:
    said = [] if notices is None else notices
    return kernels.build(config, None, said.append)


def moments(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass and variance along rows and columns, about the middle pixel."""
    axis = np.arange(len(kernel)) - len(kernel) // 2
    k = kernel.astype(np.float64)
    centre = np.array([(k.sum(1) * axis).sum(), (k.sum(0) * axis).sum()])
    variance = np.array([(k.sum(1) * axis**2).sum(), (k.sum(0) * axis**2).sum()])
    return centre, variance


@LAW
@given(
    st.lists(
        arrays.arrays(
            np.float64, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.floats(0, 9)
        ).filter(lambda k: k.sum() > 1e-3),
        min_size=1,
        max_size=4,
    )
)
def test_every_stack_is_odd_square_non_negative_and_sums_to_one(raw):
    stack = kernels.normalised_stack(raw, "k", lambda _: None)
    assert stack.dtype == np.float32
    count, rows, columns = stack.shape
    assert count == len(raw)
    assert rows == columns
    assert rows % 2 == 1
    assert (stack >= 0).all()
    np.testing.assert_allclose(stack.sum((1, 2)), 1, atol=1e-6)
    for one, other in zip(raw, stack, strict=True):  # the middle pixel k // 2 stays the middle
        middle = one[one.shape[0] // 2, one.shape[1] // 2] / one.sum()
        assert other[rows // 2, rows // 2] == pytest.approx(middle, abs=1e-6)


@pytest.mark.parametrize("std", [0.3, 1.6, 3.0])
def test_gaussian(std):
    (kernel,) = built(GaussianKernel(kind="gaussian", std=std))
    centre, variance = moments(kernel)
    assert len(kernel) == 2 * max(1, int(np.ceil(4 * std))) + 1
    np.testing.assert_allclose(centre, 0, atol=1e-6)
    if std > 1:
        np.testing.assert_allclose(variance, std**2, rtol=2e-3)
    assert np.array_equal(kernel, kernel.T)


def test_uniform():
    (kernel,) = built(UniformKernel(kind="uniform", size=9))
    np.testing.assert_allclose(kernel, np.full((9, 9), 1 / 81), rtol=1e-6)


def test_an_even_uniform_is_padded_with_a_notice():
    notices: list[str] = []
    (kernel,) = built(UniformKernel(kind="uniform", size=8), notices)
    assert kernel.shape == (9, 9)
    np.testing.assert_allclose(kernel[:8, :8], 1 / 64, rtol=1e-6)
    assert not kernel[8].any()
    assert notices == [
        "kernel: the kernel has an even size (8x8), "
        "padded with zeros at the bottom and right to an odd one"
    ]


def test_a_kernel_of_one_pixel_is_padded_to_three():
    (kernel,) = built(UniformKernel(kind="uniform", size=1))
    assert kernel.shape == (3, 3)
    assert kernel[1, 1] == 1


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.3, 7.5])
def test_disk_has_the_area_and_the_spread_of_a_disk(radius):
    (kernel,) = built(DiskKernel(kind="disk", radius=radius))
    centre, variance = moments(kernel)
    np.testing.assert_allclose(centre, 0, atol=1e-6)
    if radius > 1:
        full = kernel.max()
        assert 1 / full == pytest.approx(np.pi * radius**2, rel=0.02)
        np.testing.assert_allclose(variance, radius**2 / 4 + 1 / 12, rtol=0.02)
        partial = (kernel > 0) & (kernel < 0.99 * full)
        assert partial.any(), "the rim is antialiased"
    assert len(kernel) <= 2 * np.ceil(radius) + 1 or radius < 1


def test_motion_is_a_function_of_seed_and_index():
    config = MotionKernel(kind="motion", size=21, count=4, seed=7)
    stack = built(config)
    assert stack.shape == (4, 21, 21)
    assert np.array_equal(stack[:2], built(config.model_copy(update={"count": 2})))
    assert not np.array_equal(stack, built(config.model_copy(update={"seed": 8})))
    assert len({kernel.tobytes() for kernel in stack}) == 4


@pytest.mark.parametrize("size", [3, 5, 15, 25, 51])
def test_motion_fills_its_array_and_keeps_its_centroid(size):
    extents = []
    for kernel in camera_shake.camera_shake(size, 12, 1):
        centre, _ = moments(kernel)
        np.testing.assert_allclose(centre, 0, atol=1e-9)
        rows, columns = np.nonzero(kernel)
        extents.append(max(np.ptp(rows), np.ptp(columns)) + 1)
    assert max(extents) <= size
    assert np.mean(extents) > 0.5 * size


def test_an_even_motion_size_is_made_odd_with_a_notice():
    notices: list[str] = []
    assert built(MotionKernel(kind="motion", size=24), notices).shape == (1, 25, 25)
    assert notices == ["kernel: size `24` is even, made 25"]


def test_the_packaged_motion_kernel_is_what_its_docstring_says():
    path = Path(str(files("challenge.configs"))) / "kernels" / "motion.npy"
    kernel = np.load(path, allow_pickle=False)
    assert kernel.shape == (25, 25)
    assert kernel.dtype == np.float32
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    (made,) = camera_shake.camera_shake(25, 1, camera_shake.MOTION_SEED)
    np.testing.assert_allclose(kernel, made, atol=1e-6)
    rows, columns = np.nonzero(kernel > 1e-3 * kernel.max())
    assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 15
    # No near-diagonal line: the path spreads across its main direction, too.
    covariance = np.cov(np.array([rows, columns]), aweights=kernel[rows, columns])
    small, large = np.linalg.eigvalsh(covariance)
    assert small / large > 0.1


REFUSED = {
    "negative": (-0.1, "the kernel has negative values, down to -0.1"),
    "nan": (np.nan, "the kernel has values that are not finite"),
    "infinite": (np.inf, "the kernel has values that are not finite"),
}


@pytest.mark.parametrize(("value", "cause"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_kernel_is_refused(value, cause):
    raw = np.full((3, 3), 0.2)
    raw[0, 1] = value
    with pytest.raises(UserError) as caught:
        kernels.normalised_stack([raw], "k.npy", lambda _: None)
    assert str(caught.value) == f"k.npy: {cause}; a blur kernel is non-negative and sums to 1"


def test_every_bad_kernel_is_named_at_once():
    raw = [np.zeros((3, 3)), np.full((3, 3), 1 / 9), np.full((3, 3), -1.0)]
    with pytest.raises(UserError) as caught:
        kernels.normalised_stack(raw, "k.npy", lambda _: None)
    causes = [mistake.cause for mistake in caught.value.mistakes]
    assert causes == ["kernel 0 sums to zero", "kernel 2 has negative values, down to -1"]


def test_rounding_below_zero_is_forgiven():
    raw = np.full((3, 3), 1 / 9)
    raw[0, 0] = -1e-17
    assert (kernels.normalised_stack([raw], "k", lambda _: None) >= 0).all()


def test_a_sum_other_than_one_is_normalised_with_a_notice():
    notices: list[str] = []
    stack = kernels.normalised_stack(
        [np.ones((3, 3)), np.full((3, 3), 1 / 9)], "k.npy", notices.append
    )
    np.testing.assert_allclose(stack, 1 / 9, rtol=1e-6)
    assert notices == ["k.npy: kernel 0 sums to 9, not to 1, and is normalised"]
