"""The cosine transform, of patches and of the three colours.

    basis(n)[i, j] = c_i cos(pi i (j + 1/2) / n),   orthonormal (DCT-II)

Of (red, green, blue) it gives luminance (r + g + b) / sqrt 3 and two differences of colours, red
against blue and green against both, each with about eight times less power in photographs. An
operator that treats all colours alike commutes with the change of basis, and so does white noise.

Ahmed, Natarajan, Rao, Discrete cosine transform, 1974.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

CHROMINANCE = 8.0
"""So many times less power than in luminance, about, is in a difference of colours."""


@cache
def basis(count: int) -> Tensor:
    """The transform, one vector per row, lowest frequency first: (count, count), float64."""
    import scipy.fft

    return torch.from_numpy(scipy.fft.dct(np.eye(count), axis=0, norm="ortho"))


def to_opponent(x: Tensor) -> Tensor:
    """(B, 3, H, W) in red, green, blue -> luminance and differences, the same shape."""
    return _of_colours("oc,bchw->bohw", x)


def from_opponent(x: Tensor) -> Tensor:
    """The inverse of `to_opponent`."""
    return _of_colours("oc,bohw->bchw", x)


def _of_colours(sums: str, x: Tensor) -> Tensor:
    # Autocast takes a sum of products for a network's, and would round images to 8 bits.
    with torch.autocast(x.device.type, enabled=False):
        return torch.einsum(sums, basis(3).to(x), x)
