"""Orthonormal wavelets in the plane, periodic, and what makes an image periodic.

    low_k = sum_n h_n x_{2k+n},   high_k = sum_n g_n x_{2k+n},   g_n = (-1)^n h_{L-1-n}

Along rows and columns this makes four bands of an image, of which the lowest is split again. Where
both sides are multiples of 2^levels it is an orthonormal basis. Without leaving out every second
one, and with 1/2 before all bands of a level, it is a tight frame, W^T W = I, for every size: all
shifts of the basis at once. h has half its length in vanishing moments (Daubechies 1988): of the
factors of |h|^2, `db` has those inside the unit circle, `sym` the choice of most linear phase.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Wavelet = Literal["haar", "db2", "db4", "db8", "sym4", "sym8"]
FREQUENCIES = 64
"""At so many the phase of a filter is looked at."""


@cache
def lowpass(wavelet: Wavelet) -> Tensor:
    """The filter h of a wavelet: (L,), float64, of norm 1 and sum sqrt 2."""
    if wavelet == "haar":
        return torch.full((2,), math.sqrt(0.5), dtype=torch.float64)
    moments = int(wavelet.lstrip("dbsym"))
    inside = _factors(moments)
    choices = [inside]
    if wavelet.startswith("sym"):
        choices = [
            [root if kept else 1 / root for root, kept in zip(inside, keep, strict=True)]
            for keep in itertools.product((True, False), repeat=len(inside))
        ]
    filters = [_filter(roots, moments) for roots in choices]
    return torch.from_numpy(min(filters, key=_bend))


def _factors(moments: int) -> list[complex]:
    """Roots inside the unit circle, one of a conjugate pair, of |h|^2 without its zeros at -1."""
    terms = [math.comb(moments - 1 + power, power) for power in range(moments)]
    found = []
    for y in np.roots(terms[::-1]):
        if y.imag >= -1e-12:
            root = min(np.roots([1, 4 * y - 2, 1]), key=abs)
            found.append(complex(root))
    return found


def _filter(roots: list[complex], moments: int) -> np.ndarray:
    """The filter with these roots, their conjugates, and `moments` roots at -1."""
    found = np.poly([-1.0] * moments)
    for root in roots:
        real = abs(root.imag) < 1e-12
        found = np.convolve(found, np.poly([root.real] if real else [root, root.conjugate()]).real)
    return np.ascontiguousarray(found * math.sqrt(2) / found.sum())


def _bend(filter_: np.ndarray) -> float:
    """How far the phase of a filter is from linear."""
    at = np.linspace(0, 0.95 * np.pi, FREQUENCIES)
    response = np.exp(-1j * np.outer(at, np.arange(len(filter_)))) @ filter_
    phase = np.unwrap(np.angle(response))
    line = np.polyfit(at, phase, 1)
    return float(np.square(phase - np.polyval(line, at)).sum())


def analyse(x: Tensor, wavelet: Wavelet, levels: int, *, every_shift: bool) -> list[Tensor]:
    """W x: the three bands of each level, the finest first, and at the end the lowest band.

    Args:
        x: images, shape (B, C, H, W); both sides multiples of 2^levels unless `every_shift`.
        wavelet: its name.
        levels: how often the lowest band is split.
        every_shift: the tight frame; else the orthonormal basis.

    Returns:
        Bands of shape (B, C, 3, H', W'), and the lowest of shape (B, C, H', W'), where H' is H
        with `every_shift`, and else half of it at every further level.
    """
    bands = []
    for level in range(levels):
        pair, step = _pair(wavelet, x, level, every_shift)
        rows = _correlate(x.flatten(0, 1)[:, None], pair[:, None, :, None], step)
        both = _correlate(rows.flatten(0, 1)[:, None], pair[:, None, None, :], step)
        both = both.reshape(*x.shape[:2], 4, *both.shape[-2:])
        if not every_shift:
            both = both[..., ::2, ::2]
        x = both[:, :, 0]
        bands.append(both[:, :, 1:])
    return [*bands, x]


def synthesise(bands: list[Tensor], wavelet: Wavelet, *, every_shift: bool) -> Tensor:
    """W^T of what `analyse` gives, its adjoint and left inverse: images (B, C, H, W)."""
    x = bands[-1]
    for level, details in reversed(list(enumerate(bands[:-1]))):
        pair, step = _pair(wavelet, x, level, every_shift)
        both = torch.cat([x[:, :, None], details], dim=2)
        if not every_shift:
            wide = both.new_zeros(*both.shape[:3], 2 * both.shape[-2], 2 * both.shape[-1])
            wide[..., ::2, ::2] = both
            both = wide
        shape = both.shape
        rows = _correlate(both.reshape(-1, 2, *shape[-2:]), pair[None, :, None, :], -step)
        x = _correlate(rows.reshape(-1, 2, *shape[-2:]), pair[None, :, :, None], -step)
        x = x.reshape(*shape[:2], *shape[-2:])
    return x


def mirror(x: Tensor) -> Tensor:
    """Images beside their mirror images, (B, C, 2 H, 2 W), which are continued without a jump.

    Every pixel is there four times, so that half of this is an isometry.
    """
    x = torch.cat([x, x.flip(-1)], dim=-1)
    return torch.cat([x, x.flip(-2)], dim=-2)


def unmirror(x: Tensor) -> Tensor:
    """The mean of the four images of `mirror`: a quarter of its adjoint, and its left inverse."""
    up, down = x.chunk(2, dim=-2)
    left, right = (up + down.flip(-2)).chunk(2, dim=-1)
    return (left + right.flip(-1)) / 4


def _pair(wavelet: Wavelet, x: Tensor, level: int, every_shift: bool) -> tuple[Tensor, int]:
    """The filters h and g, (2, L), and how many pixels lie between two of their taps."""
    low = lowpass(wavelet)
    signs = torch.tensor([1.0, -1.0], dtype=low.dtype).repeat(len(low) // 2)
    pair = torch.stack([low, signs * low.flip(0)]).to(x)
    return (pair * math.sqrt(0.5), 1 << level) if every_shift else (pair, 1)


def _correlate(x: Tensor, filters: Tensor, step: int) -> Tensor:
    """Periodic correlation of images (N, I, H, W) with filters (O, I, L, 1) or (O, I, 1, L).

    With a negative step it is the adjoint along that axis: taps lie before the pixel.
    """
    axis = -2 if filters.shape[-2] > 1 else -1
    size, reach = x.shape[axis], (filters.shape[axis] - 1) * abs(step)
    first = 0 if step > 0 else -reach
    at = torch.arange(first, first + size + reach, device=x.device) % size
    x = x.index_select(axis, at)
    if step < 0:
        filters = filters.flip(axis)
    spread = (abs(step), 1) if axis == -2 else (1, abs(step))
    # Autocast takes it for a network's convolution, and would round images to 8 bits.
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, filters, dilation=spread)
