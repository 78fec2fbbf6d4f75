"""The values that images have: within [0, 1], and of complex ones, C = 2, the magnitude is."""

from __future__ import annotations

import torch
from torch import Tensor

from challenge.data.images.magnitude import COMPLEX


def middle(channels: int) -> float:
    """Of the range: the parts of complex images are about 0."""
    return 0.0 if channels == COMPLEX else 0.5


def confined(x: Tensor) -> Tensor:
    """Images (..., C, H, W), brought into the range; the phase of complex ones stays."""
    if x.shape[-3] != COMPLEX:
        return x.clamp(0, 1)
    return x / _magnitude(x).clamp_min(1)


def compared(x: Tensor) -> Tensor:
    """What the metric compares: images within [0, 1], of complex ones the magnitude.

    Shape (..., C | 1, H, W).
    """
    return (_magnitude(x) if x.shape[-3] == COMPLEX else x).clamp(0, 1)


def _magnitude(x: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(x, dim=-3, keepdim=True)
    return found
