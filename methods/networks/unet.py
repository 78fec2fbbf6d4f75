"""A small U-Net: residual blocks in an encoder and a decoder, joined by additions.

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


class Block(nn.Module):
    """x + conv(relu(conv(x))), at constant width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class UNet(nn.Module):
    """A U-Net without normalisation layers; its output is zero before training.

    Weights are kept channels-last and activations follow them, which is fastest on CPU and GPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        depth: int = 2,
        blocks: int = 1,
        shuffle: int = 2,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            width: features at the finest scale; they double at every coarser one.
            depth: number of times the resolution is halved.
            blocks: residual blocks per scale, in the encoder and in the decoder.
            shuffle: side of the square of pixels that becomes channels at the entrance; 1: none.
        """
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.shuffle = shuffle
        self.multiple = shuffle << depth
        self.head = _conv(in_channels * shuffle**2, width)
        self.encoder = nn.ModuleList(_blocks(w, blocks) for w in widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, kernel_size=2, stride=2) for w in widths[:-1])
        self.bottom = _blocks(widths[-1], blocks)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2) for w in widths[:-1]
        )
        self.decoder = nn.ModuleList(_blocks(w, blocks) for w in widths[:-1])
        self.tail = _conv(width, out_channels * shuffle**2)
        nn.init.zeros_(self.tail.weight)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W.

        The border is replicated up to the next multiple of `multiple` pixels and cut off again.
        """
        height, width = x.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        x = self.head(F.pixel_unshuffle(x, self.shuffle))
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


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution with He et al.'s (2015) initialisation for ReLU and zero bias."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))
