"""A parallel-beam projector as a sparse matrix, and filtered backprojection; free of torch.

    (A x)(theta, k) = 1 / N sum_pixels x(pixel) |pixel within strip k| / strip width

Strips are as wide as a pixel, N = max(H, W): values are means along the longer side of the field
of view, of the order of those of x, and N times them line integrals in pixels. A pixel's shadow is
a trapezoid, of which every strip takes its part, so that the projection of every angle has the
mass of the image exactly. Strip and pixel are at

    s = u cos theta + v sin theta,   u columns and v rows from the centre of the image,

and there are as many strips as the diagonal of the image needs.

    fbp(y) = dtheta N^2 A^T (h * y),   h = 1/4, 0 or -1 / (pi n)^2 at n = 0, even or odd

Radon 1917; the sampled ramp h: Ramachandran, Lakshminarayanan 1971; Kak, Slaney 1988, chapter 3.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Window = Literal["ram_lak", "cosine", "hann"]
"""What the ramp is multiplied by: nothing, cos(pi f / 2 c) or (1 + cos(pi f / c)) / 2."""
_TINY = 1e-9
"""Of a pixel: shares of strips that rounding alone makes."""
_KEPT = 2
"""Matrices that stay in memory, in single precision. One has about 18 H W V bytes, 18 MB of 128x128
pixels and 60 angles; in double precision it is half as much again."""


def detectors(height: int, width: int) -> int:
    """Strips that see all of an image at every angle."""
    return math.ceil(math.hypot(height, width))


def matrix(angles: NDArray[np.floating], height: int, width: int) -> csr_matrix:
    """A, float64 of shape (V D, H W): row `view * D + strip`, column `row * W + column`.

    Args:
        angles: V angles in degrees.
        height, width: of the image in pixels.
    """
    from scipy import sparse

    count = detectors(height, width)
    v, u = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    u, v = u - (width - 1) / 2, v - (height - 1) / 2
    pixels = np.arange(height * width, dtype=np.int32)
    views = []
    for theta in np.deg2rad(np.asarray(angles, np.float64)):
        cos, sin = math.cos(theta), math.sin(theta)
        place = u * cos + v * sin + (count - 1) / 2
        wide, narrow = max(abs(cos), abs(sin)), min(abs(cos), abs(sin))
        first = np.floor(place - (wide + narrow) / 2 + 0.5)
        edges = [_shadow(first + k - 0.5 - place, wide, narrow) for k in range(4)]
        weights = np.diff(edges, axis=0)
        strips = (first + np.arange(3)[:, None]).astype(np.int32)
        seen = (weights > _TINY) & (strips >= 0) & (strips < count)
        columns = np.broadcast_to(pixels, weights.shape)[seen]
        entries = weights[seen] / max(height, width), (strips[seen], columns)
        views.append(sparse.csr_matrix(entries, shape=(count, height * width)))
    return sparse.vstack(views, format="csr")


@lru_cache(maxsize=_KEPT)
def _single(angles: bytes, height: int, width: int) -> csr_matrix:
    """The matrix in single precision, for the pictures of a challenge, whose angles are alike."""
    return matrix(np.frombuffer(angles), height, width).astype(np.float32)


def _shadow(t: NDArray[np.float64], wide: float, narrow: float) -> NDArray[np.float64]:
    """The part of a pixel's shadow below t from its middle: the integral of a trapezoid.

    The shadow is a box of width `wide` convolved with one of width `narrow`.
    """
    outer, inner = (wide + narrow) / 2, (wide - narrow) / 2
    t = np.clip(t, -outer, outer)
    slope = (outer - np.abs(t)).clip(0) ** 2 / (2 * max(narrow, _TINY) * wide)
    middle = 0.5 + t / wide
    return np.where(np.abs(t) < inner, middle, np.where(t < 0, slope, 1 - slope))


def ramp(count: int, window: Window = "ram_lak", cutoff: float = 1.0) -> NDArray[np.float64]:
    """The filter's frequency response, on the grid of `rfft` for `length(count)` numbers.

    Args:
        count: strips.
        window: what the ramp is multiplied by.
        cutoff: c, the frequency from which on nothing is left, in (0, 1] of the highest one.
    """
    size = length(count)
    n = np.fft.fftfreq(size, 1 / size)
    odd = n % 2 == 1
    h = np.zeros(size)
    h[0], h[odd] = 0.25, -1 / (np.pi * n[odd]) ** 2
    response: NDArray[np.float64] = np.fft.rfft(h).real
    f = np.linspace(0, 1, len(response)) / cutoff
    shapes = {
        "ram_lak": np.ones_like(f),
        "cosine": np.cos(np.pi * f.clip(0, 1) / 2),
        "hann": (1 + np.cos(np.pi * f.clip(0, 1))) / 2,
    }
    filtered: NDArray[np.float64] = response * shapes[window] * (f <= 1)
    return filtered


def length(count: int) -> int:
    """Of a Fourier transform in which a filter of so many strips does not wrap around."""
    return 1 << math.ceil(math.log2(2 * count))


def spacing(angles: NDArray[np.floating]) -> float:
    """dtheta, radians: what one of evenly spaced angles stands for, 180 degrees for a single one.

    Half a turn has every line; angles that begin anew after it count as often as they do.
    """
    if len(angles) == 1:
        return math.pi
    found = np.asarray(angles, np.float64)
    return math.radians(abs(float(found[-1] - found[0])) / (len(found) - 1))


def fbp(
    y: NDArray[np.float32], angles: NDArray[np.floating], height: int, width: int
) -> NDArray[np.float32]:
    """Filtered backprojection of a sinogram.

    Args:
        y: shape (C, V, D).
        angles: V of them, in degrees, evenly spaced.
        height, width: of the image.

    Returns:
        Shape (C, H, W).
    """
    count = y.shape[-1]
    spectrum = np.fft.rfft(y, length(count), axis=-1) * ramp(count)
    filtered = np.fft.irfft(spectrum, length(count), axis=-1)[..., :count].astype(np.float32)
    key = np.asarray(angles, np.float64).tobytes()
    back = filtered.reshape(len(y), -1) @ _single(key, height, width)
    scale = spacing(angles) * max(height, width) ** 2
    found: NDArray[np.float32] = (scale * back).reshape(len(y), height, width).astype(np.float32)
    return found
