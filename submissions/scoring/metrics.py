"""PSNR and SSIM, defined once for all; every score of a challenge comes from here.

    PSNR = 10 log10(1 / mean((x - x_hat)^2)) dB, at most 100 dB
    SSIM = mean of (2 m m' + c1)(2 s_xx' + c2) / ((m^2 + m'^2 + c1)(s^2 + s'^2 + c2))
                                        Wang, Bovik, Sheikh, Simoncelli 2004, equation 13

Both in float64 with the estimate clipped to [0, 1], over all channels, by `skimage.metrics`. Of
complex images, two channels, the magnitudes are compared. Where images are floats of a known range
[low, high], as in medicine, that range is [0, 1] here, and the error relative to the image stands
beside them:

    NMSE = sum((x - x_hat)^2) / sum(x^2)

Local means m and covariances s are Gaussian windows of sigma 1.5, 11 pixels wide, of the
population; c1 = 0.01^2, c2 = 0.03^2; windows that leave the image do not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.data.challenges.seal import METRIC
from challenge.data.images.magnitude import magnitude
from challenge.submissions.outcomes import Outcome

DEFINITION: dict[str, Any] = METRIC
"""The definition's name and version, sealed together with the hidden images."""

DESCRIPTION = (
    "PSNR over all pixels and channels, at most 100 dB; SSIM of Wang et al. 2004 with Gaussian "
    "windows (sigma 1.5, 11x11, population covariance, interior of the image), mean over "
    "channels. Both in float64, the estimate clipped to [0, 1], data range 1, by scikit-image."
)

CAP = 100.0
"""The PSNR of a perfect reconstruction, in dB."""
SMALLEST = 11
"""Pixels per side that SSIM's window needs."""


class MetricError(ValueError):
    """An estimate that has no score; `outcome` says why in the judge's words."""

    def __init__(self, outcome: Outcome, cause: str) -> None:
        super().__init__(cause)
        self.outcome: Outcome = outcome


class BadShape(MetricError):
    def __init__(self, cause: str) -> None:
        super().__init__("bad_shape", cause)


class NonFinite(MetricError):
    def __init__(self, cause: str) -> None:
        super().__init__("non_finite", cause)


class TooSmall(ValueError):
    """The image is too small to be scored: the challenge's fault, not the estimate's."""


def psnr(*, estimate: NDArray[Any], truth: NDArray[Any], crop: int = 0) -> float:
    """Peak signal-to-noise ratio in dB, at most 100.

    Args:
        estimate: floats, shape (C, H, W); clipped to [0, 1] here.
        truth: floats in [0, 1], the same shape; of complex images, C = 2, the magnitude is.
        crop: pixels left out at every side.

    Raises:
        BadShape, NonFinite: the estimate cannot be scored.
        TooSmall: fewer than 11 pixels a side are left after the crop.
    """
    from skimage.metrics import peak_signal_noise_ratio

    x_hat, x = _prepared(estimate, truth, crop)
    with np.errstate(divide="ignore"):
        value = float(peak_signal_noise_ratio(x, x_hat, data_range=1))
    return min(value, CAP)


def ssim(*, estimate: NDArray[Any], truth: NDArray[Any], crop: int = 0) -> float:
    """Structural similarity, at most 1. Arguments and errors are those of `psnr`."""
    from skimage.metrics import structural_similarity

    x_hat, x = _prepared(estimate, truth, crop)
    return float(
        structural_similarity(
            x,
            x_hat,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def nmse(*, estimate: NDArray[Any], truth: NDArray[Any], crop: int = 0) -> float:
    """The squared error beside the squared image. Arguments and errors are those of `psnr`."""
    x_hat, x = _prepared(estimate, truth, crop)
    energy = float(np.square(x).sum())
    return float(np.square(x - x_hat).sum()) / max(energy, float(np.finfo(float).tiny))


def import_skimage() -> None:
    """Import what the two metrics need, which they do at their first call otherwise."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: F401


def _prepared(
    estimate: NDArray[Any], truth: NDArray[Any], crop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Checked and cropped float64 copies of estimate (clipped) and truth."""
    if truth.ndim != 3:
        raise ValueError(f"the truth has shape {truth.shape}, not (C, H, W)")
    if estimate.shape != truth.shape:
        raise BadShape(f"x_hat has shape {estimate.shape}, the image has {truth.shape}")
    if not np.issubdtype(estimate.dtype, np.floating):
        raise BadShape(f"x_hat is {estimate.dtype}, not a floating-point array")
    if not np.isfinite(estimate).all():
        raise NonFinite("x_hat has values that are not finite")
    height, width = truth.shape[1] - 2 * crop, truth.shape[2] - 2 * crop
    if min(height, width) < SMALLEST:
        raise TooSmall(
            f"{max(height, 0)}x{max(width, 0)} pixels are left to score, "
            f"SSIM needs {SMALLEST}x{SMALLEST}"
        )
    window = np.s_[:, crop : crop + height, crop : crop + width]
    x_hat, x = (magnitude(each[window].astype(np.float64)) for each in (estimate, truth))
    np.clip(x_hat, 0, 1, out=x_hat)
    return x_hat, x
