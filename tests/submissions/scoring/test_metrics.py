"""PSNR and SSIM against scikit-image, and on the edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from challenge.data.challenges.seal import METRIC
from challenge.submissions.scoring import metrics
from challenge.submissions.scoring.metrics import BadShape, NonFinite, TooSmall, psnr, ssim


def pair(seed: int, shape: tuple[int, int, int], noise: float = 0.1):
    rng = np.random.default_rng(seed)
    truth = rng.random(shape).astype(np.float32)
    return (truth + noise * rng.standard_normal(shape)).astype(np.float32), truth


def reference(estimate, truth):
    x, x_hat = truth.astype(np.float64), np.clip(estimate.astype(np.float64), 0, 1)
    similarity = structural_similarity(
        x, x_hat, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return peak_signal_noise_ratio(x, x_hat, data_range=1), similarity


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    channels=st.sampled_from([1, 3]),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    crop=st.integers(0, 4),
)
def test_equal_to_skimage(seed: int, channels: int, height: int, width: int, crop: int) -> None:
    shape = (channels, height + 2 * crop, width + 2 * crop)
    estimate, truth = pair(seed, shape)
    inside = np.s_[:, crop : shape[1] - crop, crop : shape[2] - crop]
    expected = reference(estimate[inside], truth[inside])
    assert psnr(estimate=estimate, truth=truth, crop=crop) == pytest.approx(expected[0], abs=1e-10)
    assert ssim(estimate=estimate, truth=truth, crop=crop) == pytest.approx(expected[1], abs=1e-10)


def test_psnr_is_the_formula() -> None:
    truth = np.full((3, 16, 16), 0.5)
    assert psnr(estimate=truth + 0.1, truth=truth) == pytest.approx(20, abs=1e-9)


def test_the_estimate_is_clipped() -> None:
    truth = np.ones((1, 16, 16), np.float32)
    assert psnr(estimate=truth + 5, truth=truth) == 100
    assert psnr(estimate=truth - 5, truth=truth) == 0


def test_identical_images() -> None:
    _, truth = pair(0, (3, 16, 16))
    assert psnr(estimate=truth, truth=truth) == 100
    assert ssim(estimate=truth, truth=truth) == 1


def test_constant_images() -> None:
    flat = np.full((3, 16, 16), 0.25, np.float32)
    assert ssim(estimate=flat, truth=flat) == 1
    other = np.full((3, 16, 16), 0.75, np.float32)
    # Without variance SSIM compares the means alone.
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ssim(estimate=other, truth=flat) == pytest.approx(expected, abs=1e-9)


def test_small_errors_are_capped() -> None:
    _, truth = pair(0, (1, 16, 16))
    assert psnr(estimate=truth + np.float32(1e-7), truth=truth) == 100


@pytest.mark.parametrize("score", [psnr, ssim])
def test_what_has_no_score(score) -> None:
    estimate, truth = pair(1, (3, 20, 20))
    for value in (np.nan, np.inf):
        broken = estimate.copy()
        broken[1, 2, 3] = value
        with pytest.raises(NonFinite) as raised:
            score(estimate=broken, truth=truth)
        assert raised.value.outcome == "non_finite"
    for shape in ((1, 20, 20), (20, 20), (3, 20, 21), (1, 3, 20, 20)):
        with pytest.raises(BadShape) as raised:
            score(estimate=np.zeros(shape, np.float32), truth=truth)
        assert raised.value.outcome == "bad_shape"
    with pytest.raises(BadShape):
        score(estimate=np.zeros((3, 20, 20), np.uint8), truth=truth)
    with pytest.raises(TooSmall):
        score(estimate=estimate, truth=truth, crop=5)
    with pytest.raises(TooSmall):
        score(estimate=estimate[:, :10], truth=truth[:, :10])


def test_the_definition_is_the_sealed_one() -> None:
    assert metrics.DEFINITION == METRIC
    assert {"name", "version"} <= METRIC.keys()
