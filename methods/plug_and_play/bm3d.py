"""BM3D: patches that look alike are transformed together, and shrunk.

    y = x + sigma n;   T_3D: 2-D transform of every patch, then Haar over the group G of a reference

    basic     u = sum_G w_G T_3D^-1 H(T_3D y_G) / sum_G w_G        H: 0 below lambda sigma sqrt v
    final x_hat = sum_G w_G T_3D^-1 (W T_3D y_G) / sum_G w_G       W = |T_3D u_G|^2 / (|T_3D u_G|^2
                                                                        + mu sigma^2 v)

Groups are matched in y, then in u; of colours, in their luminance. v is the variance of unit noise
in a coefficient (`group_variance.py`), w_G one over that of what is left of it, times a window.

Dabov, Foi, Katkovnik, Egiazarian 2007 (grey and colour); Makinen, Azzari, Foi 2020 (v).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from challenge.methods.contract import Method
from challenge.methods.plug_and_play.block_matching import (
    References,
    count_at_most,
    match,
)
from challenge.methods.plug_and_play.group_variance import correlations, variances
from challenge.methods.transforms import cosine, patch_wavelets
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

BLOCK = 8
STEP = 3
RADIUS = 19
"""Of the search: a window of 39 by 39 places."""
THRESHOLD = 2.8
"""lambda, in standard deviations of a coefficient's noise. It and `SHRINKAGE` are the best of five
pairs, 2.6 to 3.0 and 0.4 to 1, on crops of eight training photographs."""
SHRINKAGE = 0.6
"""mu. Below 1, since the basic estimate has lost a part of what the image has."""
WINDOW = 2.0
"""beta of the Kaiser window that weighs the pixels of a patch."""
REGION = 96
"""References a side that are worked on at once: about 100,000 patches."""
CHUNK = 4096
"""Patches that are filtered at once: they stay in a processor's cache."""
TINY = 1e-12


class Stage(NamedTuple):
    """What the two stages differ in."""

    transform: Tensor
    """Of a patch's rows and columns, (BLOCK, BLOCK), every row of norm 1."""
    patches: int
    """Of a group."""


@cache
def _stages() -> tuple[Stage, Stage]:
    basic = Stage(patch_wavelets.basis(BLOCK, patch_wavelets.BIOR15), 16)
    return basic, Stage(cosine.basis(BLOCK), 32)


class BM3D(Method):
    """Block matching and collaborative filtering, the strongest denoiser that learns nothing.

        x_hat = sum_G w_G T^-1 (W T y_G) / sum_G w_G,   W = |T u_G|^2 / (|T u_G|^2 + mu sigma^2 v)

    G are groups of patches that look alike, T a transform of a whole group, v the variance of unit
    noise in it, mu = 0.6, and u a first estimate in which small T y_G were set to 0. Colours are
    turned into luminance and two differences, and matched in luminance. Dabov, Foi, Katkovnik,
    Egiazarian, Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering, 2007.
    """

    operators = ("identity",)

    def __init__(self) -> None:
        """Nothing to choose: the noise level is all that the method is told."""
        super().__init__()

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W), C 1 or 3, gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`. The groups are constant to a gradient."""
        levels = sigma.flatten().expand(len(x)).tolist()
        opponent = cosine.to_opponent(x) if x.shape[1] == 3 else x
        # One after the other: in another batch, rounding would choose other matches.
        with torch.autocast(x.device.type, enabled=False):
            estimate = torch.stack(
                [_denoised(image, level) for image, level in zip(opponent, levels, strict=True)]
            )
        return cosine.from_opponent(estimate) if x.shape[1] == 3 else estimate


def _denoised(noisy: Tensor, sigma: float) -> Tensor:
    """Both stages on one image of shape (C, H, W), the first channel luminance."""
    height, width = noisy.shape[1:]
    # So that a whole number of steps lies between the first reference and the last.
    below, right = (
        BLOCK - side if side < BLOCK else (BLOCK - side) % STEP for side in (height, width)
    )
    padded = F.pad(noisy[None], (0, right, 0, below), mode="replicate")[0]
    basic, wiener = _stages()
    pilot = _filtered(basic, padded, None, sigma)
    return _filtered(wiener, padded, pilot, sigma)[:, :height, :width]


def _filtered(stage: Stage, noisy: Tensor, pilot: Tensor | None, sigma: float) -> Tensor:
    """One stage: hard thresholds, or Wiener's shrinkage by a pilot, shape (C, H, W) each."""
    rows, columns = ((side - BLOCK) // STEP + 1 for side in noisy.shape[1:])
    weighed, weights = torch.zeros_like(noisy), torch.zeros_like(noisy)
    for top in range(0, rows, REGION):
        for left in range(0, columns, REGION):
            number = min(REGION, rows - top), min(REGION, columns - left)
            # What the matches of this region's references can reach.
            first = [max(0, start * STEP - RADIUS) for start in (top, left)]
            last = [
                (start + count - 1) * STEP + BLOCK + RADIUS
                for start, count in zip((top, left), number, strict=True)
            ]
            part = (slice(None), slice(first[0], last[0]), slice(first[1], last[1]))
            grid = References(top * STEP - first[0], left * STEP - first[1], *number, STEP)
            sums = _region(stage, noisy[part], None if pilot is None else pilot[part], sigma, grid)
            weighed[part] += sums[0]
            weights[part] += sums[1]
    return weighed / weights


def _region(
    stage: Stage, noisy: Tensor, pilot: Tensor | None, sigma: float, grid: References
) -> tuple[Tensor, Tensor]:
    """Weighed sums of the filtered patches of a region, and the sums of their weights."""
    down, across = (side - BLOCK + 1 for side in noisy.shape[1:])
    count = count_at_most(stage.patches, down, across, RADIUS)
    seen = noisy if pilot is None else pilot
    places = match(seen[0].detach(), grid, BLOCK, RADIUS, count)
    transform = stage.transform.to(noisy)
    haar = patch_wavelets.basis(count).to(noisy)
    table = correlations(stage.transform).to(noisy)
    spectra = [_spectra(each, transform) for each in (noisy, pilot) if each is not None]

    summed = torch.zeros_like(spectra[0])
    weights = summed.new_zeros(len(noisy), down * across)
    for part in torch.split(places, max(1, CHUNK // count), dim=2):
        index = (part[0] * across + part[1]).flatten()
        grouped = [_grouped(each, index, haar) for each in spectra]
        shape = (len(noisy), count, part.shape[2], BLOCK**2)
        noise = variances(part, table).mul_(sigma**2)
        kept, left = _shrunk(*(each.view(shape) for each in grouped), noise=noise)
        weight = 1 / left.clamp_min(TINY)  # (C, 1, n, 1)
        restored = haar.T @ (kept * weight).view(len(noisy), count, -1)
        summed.index_add_(1, index, restored.view(len(noisy), -1, BLOCK**2))
        weights.index_add_(1, index, weight.expand(-1, count, -1, -1).reshape(len(noisy), -1))
    return _folded(summed, weights, transform, down, across)


def _spectra(image: Tensor, transform: Tensor) -> Tensor:
    """The transform of every patch: (C, H, W) -> (C, places, BLOCK^2)."""
    patches = image.unfold(1, BLOCK, 1).unfold(2, BLOCK, 1).reshape(len(image), -1, BLOCK**2)
    return patches @ torch.kron(transform, transform).T


def _grouped(spectra: Tensor, index: Tensor, haar: Tensor) -> Tensor:
    """Haar over the patches of every group: (C, places, BLOCK^2) -> (C, count, n BLOCK^2)."""
    return haar @ spectra.index_select(1, index).view(len(spectra), len(haar), -1)


def _shrunk(noisy: Tensor, pilot: Tensor | None = None, *, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients that are kept, and the variance of the noise that is left in a group.

    Args:
        noisy: coefficients, shape (C, count, n, BLOCK^2).
        pilot: those of the basic estimate; None for the first stage.
        noise: variance of their noise, shape (count, n, BLOCK^2).
    """
    if pilot is None:
        gain = (noisy.square() > THRESHOLD**2 * noise).to(noisy)
    else:
        power = pilot.square()
        gain = power / (power + SHRINKAGE * noise).clamp_min(TINY)
    gain[:, 0, :, 0] = 1  # the mean of a group
    squared = gain if pilot is None else gain.square()
    return noisy * gain, (squared * noise).sum((1, 3), keepdim=True)


def _folded(
    summed: Tensor, weights: Tensor, transform: Tensor, down: int, across: int
) -> tuple[Tensor, Tensor]:
    """Back to pixels, under the window: sums of patches and of weights, (C, H, W) each."""
    row = torch.kaiser_window(BLOCK, periodic=False, beta=WINDOW).to(summed)
    window = torch.outer(row, row)
    inverse = torch.linalg.inv(transform.double()).to(summed)
    pixels = (torch.kron(inverse, inverse) * window.flatten()[:, None]) @ summed.mT
    size = (down + BLOCK - 1, across + BLOCK - 1)
    whole = F.fold(pixels, size, BLOCK)[:, 0]
    spread = window.flatten()[:, None] * weights[:, None]
    return whole, F.fold(spread, size, BLOCK)[:, 0]
