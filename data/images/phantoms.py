"""Phantoms: ellipses of random sizes, places, directions and contrasts, on each other.

    x = clip(sum_k c_k 1[pixel in ellipse k], 0, 1),   count ~ Poisson(50)
    c = (U - 0.3) E(0.4),   half axes 0.2 E(1) + 0.01, centre in [-0.5, 0.5]^2 of a field [-1, 1]^2

with U uniform on [0, 1] and E exponential of that mean, so that many are faint, some hide others
and few are large. After Adler, Oktem 2018, with differences: there contrasts are (U - 0.5) E(0.4),
as often dark as bright; centres lie in the whole field; no half axis is at least 0.01; values are
not clipped; and a pixel has the value at its middle, where here it has the mean over 3 x 3 points.
Scores on these images are not those of that paper.

Complex images have a phase that is smooth across the image, a polynomial of degree two, as fields
of magnets do:

    x = |x| exp(i phi),   phi = a + b u + c v + d u^2 + e u v + f v^2
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

COUNT = 50
"""Ellipses, in the mean."""
POINTS = 3
"""Along a side of a pixel."""
BEND = 0.8
"""Standard deviation of the phase's coefficients but the constant one, in radians."""


def draw(
    generator: np.random.Generator, size: int, mode: Literal["grey", "complex"] = "grey"
) -> NDArray[np.float32]:
    """Draw a phantom: float32 in [0, 1], shape (1, size, size); complex ones (2, size, size)."""
    count = int(generator.poisson(COUNT))
    contrast = (generator.random(count) - 0.3) * generator.exponential(0.4, count)
    axes = 0.2 * generator.exponential(1.0, (count, 2)) + 0.01
    centre = generator.random((count, 2)) - 0.5
    angle = 2 * np.pi * generator.random(count)
    fine = POINTS * size
    field = np.zeros((fine, fine), np.float32)
    places = (np.arange(fine) + 0.5) * (2 / fine) - 1
    for c, (a, b), (x, y), t in zip(contrast, axes, centre, angle, strict=True):
        # Only the pixels that the ellipse may reach.
        reach = np.hypot(a * np.cos(t), b * np.sin(t)), np.hypot(a * np.sin(t), b * np.cos(t))
        columns, rows = (
            slice(*np.searchsorted(places, (middle - far, middle + far)))
            for middle, far in zip((x, y), reach, strict=True)
        )
        u, v = places[None, columns] - x, places[rows, None] - y
        along, across = u * np.cos(t) + v * np.sin(t), v * np.cos(t) - u * np.sin(t)
        field[rows, columns] += c * ((along / a) ** 2 + (across / b) ** 2 <= 1)
    found = field.reshape(size, POINTS, size, POINTS).mean((1, 3)).clip(0, 1)[None]
    return with_phase(generator, found) if mode == "complex" else found.astype(np.float32)


def with_phase(
    generator: np.random.Generator, magnitude: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Real images (1, H, W) with a smooth random phase: real and imaginary part, (2, H, W)."""
    _, height, width = magnitude.shape
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    constant = 2 * np.pi * generator.random()
    bends = BEND * generator.standard_normal(5)
    phase = constant + np.tensordot(bends, np.stack([u, v, u * u, u * v, v * v]), axes=1)
    turned = magnitude[0] * np.exp(1j * phase)
    return np.stack([turned.real, turned.imag]).astype(np.float32)
