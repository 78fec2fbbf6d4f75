"""A U-Net: residual blocks in an encoder and a decoder, joined by additions.

    u = shuffle_down(x);  e_0 = head(u);  e_{i+1} = down_i(blocks(e_i))
    d_i = blocks(up_i(d_{i+1}) + e_i);  output = shuffle_up(tail(d_0))

Ronneberger, Fischer, Brox 2015 (encoder, decoder, skips); Zhang, Li, Zuo, Zhang, Van Gool,
Timofte 2021, DRUNet (residual blocks, strided down and up, no normalisation); Shi et al. 2016
and Zhang, Zuo, Zhang 2018, FFDNet (pixel shuffle: 2x2 pixels become four channels, so that
every convolution costs a quarter and sees twice as far).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import (
    Activation,
    Normalisation,
    Pooling,
    conv,
    pad,
    zero,
)
from challenge.methods.networks.resnet import blocks as residual_blocks


class UNet(nn.Module):
    """A U-Net of residual blocks; its output is zero before training.

    Weights are kept channels-last and activations follow them, which is fastest on CPU and GPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        depth: int = 2,
        blocks: int = 2,
        shuffle: int = 2,
        pooling: Pooling = "strided",
        activation: Activation = "relu",
        normalisation: Normalisation = "none",
        dropout: float = 0.0,
        bias_free: bool = False,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            width: features at the finest scale; they double at every coarser one.
            depth: number of times the resolution is halved.
            blocks: residual blocks per scale, in the encoder and in the decoder.
            shuffle: side of the square of pixels that becomes channels at the entrance; 1: none.
            pooling: how the resolution is halved: by the maximum or the mean of 2x2 pixels and a
                1x1 convolution, or by a 2x2 convolution with stride 2.
            activation: inside every block.
            normalisation: after every convolution of a block.
            dropout: share of a block's features left out while training, in [0, 1).
            bias_free: no layer adds a constant (Mohan et al. 2020).
        """
        super().__init__()
        bias = not bias_free
        widths = [width << level for level in range(depth + 1)]
        self.shuffle = shuffle
        self.multiple = shuffle << depth

        def stage(features: int) -> nn.Sequential:
            return residual_blocks(
                features, blocks, kind=activation, norm=normalisation, drop=dropout, bias=bias
            )

        self.head = conv(in_channels * shuffle**2, width, bias=bias)
        self.encoder = nn.ModuleList(stage(w) for w in widths[:-1])
        self.down = nn.ModuleList(_down(w, pooling, bias) for w in widths[:-1])
        self.bottom = stage(widths[-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2, bias=bias) for w in widths[:-1]
        )
        self.decoder = nn.ModuleList(stage(w) for w in widths[:-1])
        self.tail = zero(conv(width, out_channels * shuffle**2, after=None, bias=bias))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = self.head(F.pixel_unshuffle(pad(x, self.multiple), self.shuffle))
        skips = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for decode, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            x = decode(up(x) + skips.pop())
        x = F.pixel_shuffle(self.tail(x), self.shuffle)
        return x[..., :height, :width]


def _down(width: int, pooling: Pooling, bias: bool) -> nn.Module:
    """Halve the resolution and double the features."""
    if pooling == "strided":
        return nn.Conv2d(width, 2 * width, kernel_size=2, stride=2, bias=bias)
    pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
    return nn.Sequential(pool, conv(width, 2 * width, side=1, after=None, bias=bias))
