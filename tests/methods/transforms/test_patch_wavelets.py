"""What the matrices of wavelets must be."""

import math

import pytest
import torch

from challenge.methods.transforms import patch_wavelets


@pytest.mark.parametrize("count", [1, 2, 8, 32])
def test_haar_is_orthonormal_and_begins_with_the_mean(count):
    haar = patch_wavelets.basis(count)
    torch.testing.assert_close(haar @ haar.T, torch.eye(count, dtype=torch.float64))
    torch.testing.assert_close(haar[0], torch.full_like(haar[0], count**-0.5))


def test_the_biorthogonal_wavelet_is_invertible_and_sees_no_constant_in_its_details():
    basis = patch_wavelets.basis(8, patch_wavelets.BIOR15)
    torch.testing.assert_close(basis.norm(dim=1), torch.ones(8, dtype=torch.float64))
    sums = basis.sum(1)
    torch.testing.assert_close(sums[0].item(), math.sqrt(8))
    assert sums[1:].abs().max() < 1e-12
    assert torch.linalg.cond(basis) < 2


def test_the_biorthogonal_details_of_the_second_scale_are_those_of_the_filters():
    """High-pass of low-pass: the filters of bior1.5, convolved by hand, periodic."""
    low = torch.tensor(patch_wavelets.BIOR15, dtype=torch.float64)
    row = torch.zeros(16, dtype=torch.float64)
    for shift, sign in ((0, 1), (2, -1)):
        for offset, tap in enumerate(low, shift - 4):
            row[offset % 16] += sign * tap
    found = patch_wavelets.basis(16, patch_wavelets.BIOR15)[4]
    torch.testing.assert_close(found, row / row.norm())
