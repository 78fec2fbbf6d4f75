"""A convolutional dictionary: images as sums of small filters, placed every `stride` pixels.

    D z   = sum_k sum_p z_k[p] filter_k shifted by p stride          (synthesise)
    D^T x = correlations of x with every filter at every place       (analyse)

Codes are kept for every filter that reaches into the image, so that the border is covered as often
as the middle. Both are computed between squares of stride x stride pixels (pixel shuffle: Shi et
al. 2016), which is the same map as a strided convolution and faster on a CPU.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from challenge.methods.transforms.cosine import basis


def cosines(channels: int, side: int) -> Tensor:
    """The orthonormal cosine transform of patches, shape (channels side^2, channels, side, side).

    By frequency, the averages first; colours (3 channels) as lightness, red against blue, green
    against both. With all of these filters, D D^T = (side / stride)^2 I.
    """
    place, wave = torch.arange(side), basis(side)
    every = torch.einsum("kc,ui,vj->uvkcij", basis(channels), wave, wave).flatten(0, 1)
    order = (place[:, None] + place).flatten().argsort(stable=True)
    return every[order].flatten(0, 1).float()


def synthesise(z: Tensor, filters: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """D z, cut to an image of `size`.

    Args:
        z: codes, shape (B, K, H_z, W_z), H_z = ceil(H / stride) + side / stride - 1.
        filters: shape (K, C, side, side).
        stride: pixels from one code to the next; divides side.
        size: (H, W).

    Returns:
        Shape (B, C, H, W).
    """
    taps = _taps(filters, stride)
    x = F.pixel_shuffle(F.conv_transpose2d(z, taps, padding=taps.shape[-1] - 1), stride)
    return x[..., : size[0], : size[1]]


def analyse(
    x: Tensor, filters: Tensor, stride: int, mode: Literal["constant", "replicate"] = "constant"
) -> Tensor:
    """D^T x, the adjoint of `synthesise`: (B, C, H, W) to (B, K, H_z, W_z).

    With `replicate`, x goes on beyond its border in place of falling to 0: no longer the adjoint,
    but the border is no edge that takes codes to describe.
    """
    margin = filters.shape[-1] - stride
    bottom, right = (margin + -side % stride for side in x.shape[-2:])
    x = F.pixel_unshuffle(F.pad(x, (margin, right, margin, bottom), mode=mode), stride)
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), _taps(filters, stride))


def _taps(filters: Tensor, stride: int) -> Tensor:
    """The filters between squares of pixels, (K, C stride^2, side / stride, side / stride)."""
    taps = F.pixel_unshuffle(filters, stride)
    return taps.contiguous(memory_format=torch.channels_last)
