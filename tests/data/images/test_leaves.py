"""Dead leaves have the statistics of photographs, and image i of a seed is always the same."""

from __future__ import annotations

import numpy as np
import pytest

from challenge.data.images.leaves import leaves

SIZE = 128
LUMAS = [leaves(0, index, SIZE).mean(axis=0) / 255 for index in range(12)]


def spectral_slope(luma: np.ndarray) -> float:
    """Slope of log power over log frequency, radially averaged under a Hann window."""
    window = np.hanning(SIZE)
    power = np.abs(np.fft.fft2((luma - luma.mean()) * np.outer(window, window))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    edges = np.geomspace(0.03, 0.4, 10)
    rings = [
        (frequency >= low) & (frequency < high) for low, high in zip(edges, edges[1:], strict=False)
    ]
    radial = [power[ring].mean() for ring in rings]
    slope, _ = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(radial), 1)
    return float(slope)


def kurtosis(values: np.ndarray) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def test_the_power_spectrum_falls_like_that_of_photographs():
    slopes = [spectral_slope(luma) for luma in LUMAS]
    assert -2.6 < np.mean(slopes) < -1.6
    assert all(-3.6 < slope < -1.2 for slope in slopes)


def test_gradients_are_heavy_tailed():
    """3 for a Gaussian."""
    values = [kurtosis(np.diff(luma, axis=1)) for luma in LUMAS]
    assert np.median(values) > 8
    assert min(values) > 4.5


def test_images_vary_in_light_contrast_and_colour():
    assert np.std([luma.mean() for luma in LUMAS]) > 0.05
    assert np.std([luma.std() for luma in LUMAS]) > 0.02
    chroma = [np.ptp(leaves(0, index, 64).astype(float), axis=0).mean() for index in range(12)]
    assert max(chroma) > 3 * min(chroma)


def test_an_image_is_decided_by_seed_and_index():
    one = leaves(3, 5, 64)
    leaves(3, 6, 64)
    assert one.dtype == np.uint8
    assert one.shape == (3, 64, 64)
    assert np.array_equal(one, leaves(3, 5, 64))
    assert not np.array_equal(one, leaves(3, 6, 64))
    assert not np.array_equal(one, leaves(4, 5, 64))


@pytest.mark.parametrize("size", [32, 33, 50])
def test_any_size(size):
    for index in range(6):
        assert leaves(0, index, size).shape == (3, size, size)
