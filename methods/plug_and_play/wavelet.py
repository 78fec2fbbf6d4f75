"""Soft thresholding of wavelet coefficients.

    x_hat = W^T soft(W y, t sigma w),   soft(c, s) = sign(c) max(|c| - s, 0)

W is an orthonormal basis, and x_hat = argmin_x 1/2 ||x - y||^2 + t sigma ||w W x||_1, with weights
w by level and colour that are 0 for the lowest band; or all shifts of one, over which x_hat is the
mean. Donoho, Johnstone 1994; Coifman, Donoho 1995.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.methods.contract import Method
from challenge.methods.networks.layers import pad
from challenge.methods.plug_and_play.denoisers import Bounds
from challenge.methods.transforms.cosine import from_opponent, to_opponent
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.transforms.wavelets import (
    Wavelet,
    analyse,
    mirror,
    synthesise,
    unmirror,
)

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

COLOUR = 2.0
"""So many times the threshold of luminance is that of the two differences of colours."""
COARSER = 0.6
"""So many times a threshold is that of the next coarser level.

Where photographs have more power a threshold is better lower (Chang, Yu, Vetterli 2000). Both
numbers are the best on training photographs at 25/255, where t = 1.8 is best, 1.4 at 10/255."""


class WaveletThresholding(Method):
    """Soft thresholding of wavelet coefficients: no training, and a certificate.

        x_hat = W^T soft(W y, t sigma w)

    Colours are luminance and two differences, in an orthonormal basis; weights w are higher for
    differences, lower for coarser levels, and 0 for the lowest band. With `shifts: one`, W is an
    orthonormal basis, periodic, and x_hat minimises 1/2 ||x - y||^2 + t sigma ||w W x||_1: a
    proximal map. With `shifts: all`, x_hat is the mean of that over all shifts of the image beside
    its mirror images, computed in one tight frame; a mean of proximal maps is one too. So D and
    I - D are firmly non-expansive at every noise level: with `all` for images of any size, with
    `one` for sides that are multiples of 2^levels. Others are continued by their last row and
    column, which keeps the quality and loses the certificate.
    Donoho, Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994; Coifman, Donoho,
    Translation-invariant de-noising, 1995; proximal maps and their means: Moreau 1965.
    """

    operators = ("identity",)

    def __init__(
        self,
        *,
        wavelet: Wavelet = "sym4",
        levels: Annotated[int, Ge(1), Le(8)] = 4,
        threshold: Annotated[float, Gt(0)] = 1.6,
        shifts: Literal["one", "all"] = "all",
    ) -> None:
        """Take the knobs.

        Args:
            wavelet: with so many vanishing moments; `sym` is of nearly linear phase.
            levels: scales whose details are thresholded; the coarsest has squares of 2^levels.
            threshold: the factor t, of luminance at the finest level, in noise levels.
            shifts: the mean over all shifts and mirror images, or one basis, quicker and blocky.
        """
        super().__init__()
        self.wavelet, self.levels, self.threshold, self.shifts = wavelet, levels, threshold, shifts

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def certificate(self) -> Bounds | None:
        """D and I - D are firmly non-expansive; None for one basis, which some sizes do not fit."""
        return Bounds(residual=1.0, denoiser=1.0, reflected=1.0) if self.shifts == "all" else None

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        every_shift = self.shifts == "all"
        height, width = x.shape[-2:]
        colour = x.shape[1] == 3
        seen = to_opponent(x) if colour else x
        seen = mirror(seen) if every_shift else pad(seen, 1 << self.levels)
        weights = x.new_tensor([1, COLOUR, COLOUR] if colour else [1]).reshape(1, -1, 1, 1)
        threshold = (self.threshold * sigma * weights)[..., None]
        *details, lowest = analyse(seen, self.wavelet, self.levels, every_shift=every_shift)
        kept = [
            # The frame's coefficients are those of the bases, divided by 2 at every level.
            soft(band, threshold * COARSER**level / (2 << level if every_shift else 1))
            for level, band in enumerate(details)
        ]
        found = synthesise([*kept, lowest], self.wavelet, every_shift=every_shift)
        found = unmirror(found) if every_shift else found[..., :height, :width]
        return from_opponent(found) if colour else found


def soft(x: Tensor, threshold: Tensor) -> Tensor:
    """sign(x) max(|x| - threshold, 0), the proximal map of threshold |x|."""
    return x - torch.clamp(x, -threshold, threshold)
