"""Luminance and two differences of colours: an orthonormal basis of (red, green, blue).

    luminance (r + g + b) / sqrt 3,   differences (r - g) / sqrt 2  and  (r + g - 2 b) / sqrt 6

Photographs have about eight times less power in either difference than in luminance. An operator
that treats all colours alike commutes with the change of basis, and so does white noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHROMINANCE = 8.0
"""So many times less power than in luminance, about, is in a difference of colours."""
BASIS = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, -(2**-0.5), 0.0),
    (6**-0.5, 6**-0.5, -2 * 6**-0.5),
)


def to_opponent(x: Tensor) -> Tensor:
    """(B, 3, H, W) in red, green, blue -> luminance and differences, the same shape."""
    return torch.einsum("oc,bchw->bohw", x.new_tensor(BASIS), x)


def from_opponent(x: Tensor) -> Tensor:
    """The inverse of `to_opponent`."""
    return torch.einsum("oc,bohw->bchw", x.new_tensor(BASIS), x)
