"""What is a blur, and which blurs the Fourier transform diagonalises."""

import pytest
import torch
from deepinv.physics import Blur, BlurFFT, Denoising

from challenge.methods.transforms.structure import is_blur, is_circular, transfer_function

KERNEL = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
SHAPE = (1, 16, 16)
OPERATORS = {
    "fft": (BlurFFT(SHAPE, filter=KERNEL), True, True),
    "circular": (Blur(filter=KERNEL, padding="circular"), True, True),
    "valid": (Blur(filter=KERNEL, padding="valid"), True, False),
    "reflect": (Blur(filter=KERNEL, padding="reflect"), True, False),
    "identity": (Denoising(), False, True),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_blur_is_circular_by_its_boundary(name):
    physics, blur, circular = OPERATORS[name]
    assert (is_blur(physics), is_circular(physics)) == (blur, circular)
    assert (transfer_function(physics, 16, 16) is not None) == blur


@pytest.mark.parametrize("name", [name for name in OPERATORS if all(OPERATORS[name][1:])])
def test_a_circular_blur_is_a_product_with_its_transfer_function(name):
    physics = OPERATORS[name][0]
    x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    product = torch.fft.irfft2(torch.fft.rfft2(x) * transfer_function(physics, 16, 16))
    torch.testing.assert_close(physics.A(x), product)
