"""The power spectrum of images as a function of radial frequency alone.

    S(f) = E |FFT(w (x - mean x))(f)|^2 / sum w^2,   w a Hann window

in units of power per pixel: white noise of level sigma has S = sigma^2. The window keeps the jump
at the border out of the spectrum; it smears S over two frequency steps, which matters at the
lowest frequencies only, where the operator passes everything anyway (Welch 1967).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

BINS = 48
LOWEST, HIGHEST = 1 / 512, 0.5**0.5
"""The range of radial frequencies, in cycles per pixel; bins are equal on a log scale."""
TYPICAL = 2e-3
"""S(f) = TYPICAL / f^2 is about the spectrum of photographs with values in [0, 1]."""


def frequencies(dtype: torch.dtype = torch.float32) -> Tensor:
    """Logarithms of the bins' frequencies, shape (BINS,)."""
    low, high = torch.tensor([LOWEST, HIGHEST], dtype=dtype).log()
    return torch.linspace(float(low), float(high), BINS, dtype=dtype)


def typical() -> Tensor:
    """Log S of photographs in general, shape (BINS,), for a method that was not fitted."""
    return torch.log(torch.tensor(TYPICAL)) - 2 * frequencies()


def estimate(images: Iterable[Tensor]) -> Tensor:
    """Estimate log S, shape (BINS,), from images of shape (C, H, W) and of any sizes.

    Raises:
        ValueError: there is no image.
    """
    total, weight = torch.zeros(BINS, dtype=torch.float64), torch.zeros(BINS, dtype=torch.float64)
    for image in images:
        x = image.double()
        height, width = x.shape[-2:]
        window = torch.outer(
            torch.hann_window(height, periodic=False, dtype=x.dtype),
            torch.hann_window(width, periodic=False, dtype=x.dtype),
        )
        x = x - (window * x).sum((-2, -1), keepdim=True) / window.sum()
        power = torch.fft.rfft2(window * x).abs().square().mean(0) / window.square().sum()
        left, share, inside = _position(_radius(height, width, power.dtype))
        for index, part in ((left, (1 - share) * inside), (left + 1, share * inside)):
            index, part = index.flatten(), part.flatten()
            total += torch.bincount(index, power.flatten() * part, minlength=BINS)
            weight += torch.bincount(index, part, minlength=BINS)
    known = weight > 1e-9
    if not known.any():
        raise ValueError("no image to estimate a spectrum from")
    log_f = frequencies(torch.float64)
    filled = _interpolate(
        log_f, log_f[known], (total[known] / weight[known]).clamp_min(1e-12).log()
    )
    return filled.float()


def penalty(log_spectrum: Tensor, height: int, width: int, *, mean: bool = False) -> Tensor:
    """1 / S on the grid of `rfft2`, shape (H, W // 2 + 1), differentiable.

    Args:
        log_spectrum: log S, shape (BINS,).
        height: of the images.
        width: of the images.
        mean: whether frequency 0 has the penalty of the lowest bin; else 0: the mean is free.
    """
    radius = _radius(height, width, log_spectrum.dtype).to(log_spectrum.device)
    left, share, _ = _position(radius)
    values = log_spectrum[left] * (1 - share) + log_spectrum[left + 1] * share
    inverse = torch.exp(-values)
    return inverse if mean else inverse * (radius > 0)


def _radius(height: int, width: int, dtype: torch.dtype) -> Tensor:
    rows = torch.fft.fftfreq(height, dtype=dtype)
    columns = torch.fft.rfftfreq(width, dtype=dtype)
    return torch.hypot(rows[:, None], columns[None])


def _position(radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left bin of each frequency, its share of the right one, and which frequencies are inside."""
    low, high = frequencies(radius.dtype)[[0, -1]].tolist()
    place = (radius.clamp_min(1e-12).log() - low) / (high - low) * (BINS - 1)
    inside = (place >= 0) & (radius > 0)
    place = place.clamp(0, BINS - 1 - 1e-6)
    left = place.floor().long().clamp(max=BINS - 2)
    return left, place - left, inside


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Piecewise linear through (x, y), both ends continued with a slope of -2 (S ~ f^-2)."""
    right = torch.searchsorted(x, at).clamp(1, max(len(x) - 1, 1))
    if len(x) == 1:
        return y[0] - 2 * (at - x[0])
    x0, x1, y0, y1 = x[right - 1], x[right], y[right - 1], y[right]
    inner = y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    below, above = y[0] - 2 * (at - x[0]), y[-1] - 2 * (at - x[-1])
    return torch.where(at < x[0], below, torch.where(at > x[-1], above, inner))
