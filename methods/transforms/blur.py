"""Blurs in the Fourier domain, where a circular one is a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepinv.physics import Blur, BlurFFT
from deepinv.physics.functional import filter_fft
from torch import Tensor

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def transfer_function(physics: LinearPhysics, height: int, width: int) -> Tensor | None:
    """Transfer function of a blur, were it circular: complex, (1 | B, 1 | C, H, W // 2 + 1).

    None for an operator that is no blur.
    """
    if not isinstance(physics, Blur | BlurFFT):
        return None
    kernel = physics.filter
    if kernel.shape[1] > 1 and bool((kernel == kernel[:, :1]).all()):
        kernel = kernel[:, :1]  # deepinv repeats one kernel for every colour
    found: Tensor = filter_fft(kernel, (1, height, width), dims=(-2, -1), real_fft=True)
    return found
