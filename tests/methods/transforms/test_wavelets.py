"""The wavelet bases are orthonormal, their shifts a tight frame, and their filters Daubechies'."""

from typing import get_args

import pytest
import torch

from challenge.methods.transforms.wavelets import Wavelet, analyse, lowpass, synthesise

NAMES = get_args(Wavelet)
SIZES = {False: (16, 32), True: (13, 22)}


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def inner(first, second):
    return float(sum((a * b).sum() for a, b in zip(first, second, strict=True)))


@pytest.mark.parametrize("every_shift", [False, True])
@pytest.mark.parametrize("wavelet", NAMES)
def test_the_transform_is_an_isometry_and_its_adjoint_inverts_it(wavelet, every_shift):
    x = normal(2, 3, *SIZES[every_shift])
    bands = analyse(x, wavelet, 3, every_shift=every_shift)
    assert inner(bands, bands) == pytest.approx(float(x.square().sum()), rel=1e-12)
    back = synthesise(bands, wavelet, every_shift=every_shift)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)
    others = [normal(*band.shape) for band in bands]
    adjoint = synthesise(others, wavelet, every_shift=every_shift)
    assert inner(bands, others) == pytest.approx(float((x * adjoint).sum()), rel=1e-10)
    if not every_shift:
        assert sum(band.numel() for band in bands) == x.numel()
        again = analyse(adjoint, wavelet, 3, every_shift=False)
        for band, other in zip(again, others, strict=True):
            torch.testing.assert_close(band, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wavelet", NAMES)
def test_a_filter_has_its_vanishing_moments_and_is_orthonormal(wavelet):
    low = lowpass(wavelet)
    length = len(low)
    moments = 1 if wavelet == "haar" else int(wavelet.lstrip("dbsym"))
    assert length == 2 * moments
    assert float(low.sum()) == pytest.approx(2**0.5, abs=1e-14)
    for shift in range(0, length, 2):
        expected = float(shift == 0)
        assert float(low[: length - shift] @ low[shift:]) == pytest.approx(expected, abs=1e-14)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(moments)
    at = torch.arange(length, dtype=torch.float64) / length
    for power in range(moments):
        assert float((signs * at**power * low).sum()) == pytest.approx(0, abs=1e-9)


def test_filters_are_the_published_ones():
    """Daubechies, Ten lectures on wavelets, 1992, tables 6.1 and 6.3."""
    root = 3**0.5
    closed = torch.tensor([1 + root, 3 + root, 3 - root, 1 - root], dtype=torch.float64) / 32**0.5
    torch.testing.assert_close(lowpass("db2"), closed, rtol=0, atol=1e-15)
    assert lowpass("db4")[:2].tolist() == pytest.approx([0.230377813309, 0.714846570553], abs=1e-11)
    sym4 = [0.032223100604, -0.012603967262, -0.099219543577, 0.297857795606]
    assert lowpass("sym4")[:4].tolist() == pytest.approx(sym4, abs=1e-11)
