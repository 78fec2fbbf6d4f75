"""Kernels of camera shake: the time a smooth random path spends in every pixel.

    f(t) = sum_j s_j (a_j cos(pi j t) + b_j sin(pi j t)),   a_j, b_j ~ N(0, 1),   0 <= t <= 1
    s_j^2 = (c^2 + (pi j)^2)^(-nu - 1/2)

Each coordinate is a Gaussian process with a Matern spectrum, as in Schuler, Hirsch, Harmeling,
Schoelkopf, "Learning to deblur" (2016); here by its Fourier series, which needs no factorisation
and so gives the same path on every machine. `configs/kernels/motion.npy` is
`camera_shake(25, 1, MOTION_SEED)`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from challenge.data import noise

MOTION_SEED = 23
"""The seed of `configs/kernels/motion.npy`."""

_TERMS = 24
_STEPS = 4000
_SMOOTHNESS = 2.0
_CUTOFF = 3.0


def camera_shake(size: int, count: int, seed: int) -> NDArray[np.float64]:
    """Draw kernels; kernel i of a seed does not depend on `count`.

    Args:
        size: side in pixels, odd.
        count: how many.
        seed: public.

    Returns:
        Shape (count, size, size), non-negative, each sums to 1 with its centroid at the centre.
    """
    return np.stack([_render(_path(size, seed, index), size) for index in range(count)])


def _path(size: int, seed: int, index: int) -> NDArray[np.float64]:
    """Positions (row, column) in pixels about the centre, shape (steps, 2)."""
    generator = noise.generator(seed, "camera shake", str(index))
    frequency = np.pi * np.arange(1, _TERMS + 1)
    spectrum = (_CUTOFF**2 + frequency**2) ** (-(_SMOOTHNESS + 0.5) / 2)
    phase = np.linspace(0, 1, _STEPS)[:, None] * frequency
    coordinates = []
    for _ in range(2):
        a, b = generator.standard_normal((2, _TERMS)) * spectrum
        coordinates.append(np.cos(phase) @ a + np.sin(phase) @ b)
    path = np.stack(coordinates, axis=1)
    path -= path.mean(axis=0)
    # The farthest point lies between 60 % and 100 % of the way to the border's inner pixel.
    reach = (0.6 + 0.4 * generator.random()) * (size // 2 - 0.5)
    scaled: NDArray[np.float64] = path * (reach / np.abs(path).max())
    return scaled


def _render(path: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Spread every position over its four neighbouring pixels, bilinearly."""
    kernel = np.zeros((size, size))
    position = path + size // 2
    corner = np.clip(np.floor(position).astype(int), 0, size - 2)
    fraction = position - corner
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - fraction[:, 0]) * np.abs(1 - right - fraction[:, 1])
            np.add.at(kernel, (corner[:, 0] + down, corner[:, 1] + right), weight)
    kernel /= kernel.sum()
    return kernel
