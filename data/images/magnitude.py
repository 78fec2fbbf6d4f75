"""Complex images are scored and shown by their magnitude, which no phase of a scanner changes.

|x| = sqrt(re^2 + im^2),   x of shape (2, H, W)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPLEX = 2
"""Channels of a complex image, its real and its imaginary part: photographs have 1 or 3."""


def magnitude(x: NDArray[Any]) -> NDArray[Any]:
    """The magnitude, (1, H, W), of a complex image; grey and colour images are as they are."""
    if len(x) != COMPLEX:
        return x
    found: NDArray[Any] = np.hypot(x[:1], x[1:])
    return found
