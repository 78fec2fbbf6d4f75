"""Blurs in the Fourier domain, where a circular one is a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepinv.physics import Blur, BlurFFT
from deepinv.physics.functional import filter_fft
from torch import Tensor

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def is_blur(physics: LinearPhysics) -> bool:
    """Whether the operator is a convolution, at any boundary, so that it has a kernel."""
    return isinstance(physics, Blur | BlurFFT)


def is_circular(physics: LinearPhysics) -> bool:
    """Whether the operator is a circular convolution, which the Fourier transform diagonalises."""
    return isinstance(physics, BlurFFT) or (
        isinstance(physics, Blur) and physics.padding == "circular"
    )


def transfer_function(physics: LinearPhysics, height: int, width: int) -> Tensor | None:
    """Transfer function of a blur, were it circular: complex, (1 | B, 1 | C, H, W // 2 + 1).

    None for an operator that is no blur.
    """
    if not is_blur(physics):
        return None
    kernel = physics.filter
    if kernel.shape[1] > 1 and bool((kernel == kernel[:, :1]).all()):
        kernel = kernel[:, :1]  # deepinv repeats one kernel for every colour
    found: Tensor = filter_fft(kernel, (1, height, width), dims=(-2, -1), real_fft=True)
    return found
