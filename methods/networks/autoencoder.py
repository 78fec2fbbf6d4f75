"""An encoder and a decoder with nothing between them but latents that keep their place.

    u = shuffle_down(x);  e_0 = blocks(head(u));  e_{i+1} = blocks(down_i(e_i));  E(x) = tail(e_n)
    d_n = blocks(head(z));  d_i = blocks(up_i(d_{i+1}));  G(z) = shuffle_up(tail(d_0))

One latent vector stands for a square of `multiple` pixels a side, so that images of any size are
encoded; what a U-Net hands past its bottom, this network has to put into latents. There is no
activation but inside the residual blocks: without blocks, both networks are linear.

Hinton, Salakhutdinov 2006 (autoencoders); He et al. 2016, Zhang et al. 2021 (residual blocks,
strided down and up); Shi et al. 2016 (pixel shuffle).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from pydantic import ConfigDict
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Whole
from challenge.methods.networks.layers import Activation, conv, pad, zero
from challenge.methods.networks.resnet import blocks as residual_blocks
from challenge.methods.transforms.image_range import middle

FIRST_SCALE = 0.1
"""Of the last layers before a training."""


def _tail(features: int, channels: int) -> nn.Conv2d:
    """The last layer. It begins small: what adds up over residual blocks has no scale."""
    made = conv(features, channels, after=None)
    with torch.no_grad():
        made.weight.mul_(FIRST_SCALE)
    return made


def _stage(features: int, count: int, kind: Activation) -> nn.Sequential:
    """Residual blocks that begin as the identity: training starts at linear networks, without the
    steps in which the loss jumps."""
    made = residual_blocks(features, count, kind=kind, norm="none", drop=0.0, bias=True)
    for block in made.children():
        zero(block.second)  # type: ignore[arg-type]
    return made


class Encoder(nn.Module):
    """E: (B, in_channels, H, W) -> (B, out_channels, ceil(H / multiple), ceil(W / multiple))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 1,
        blocks: int = 2,
        shuffle: int = 4,
        activation: Activation = "relu",
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the image.
            out_channels: numbers that every latent vector has.
            width: features at the finest scale; they double at every coarser one.
            depth: number of times the resolution is halved.
            blocks: residual blocks per scale.
            shuffle: side of the square of pixels that becomes channels at the entrance.
            activation: inside every block.
        """
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.shuffle, self.multiple = shuffle, shuffle << depth
        self.middle = middle(in_channels)
        self.head = conv(in_channels * shuffle**2, width, after=None)
        self.stages = nn.ModuleList(_stage(each, blocks, activation) for each in widths)
        self.down = nn.ModuleList(
            nn.Conv2d(each, 2 * each, kernel_size=2, stride=2) for each in widths[:-1]
        )
        self.tail = _tail(widths[-1], out_channels)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images; the last row and column are repeated where the side is no multiple."""
        x = self.head(F.pixel_unshuffle(pad(x - self.middle, self.multiple), self.shuffle))
        x = self.stages[0](x)
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            x = stage(down(x))
        found: Tensor = self.tail(x)
        return found


class Decoder(nn.Module):
    """G: (B, in_channels, h, w) -> (B, out_channels, multiple h, multiple w)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 1,
        blocks: int = 2,
        shuffle: int = 4,
        activation: Activation = "relu",
    ) -> None:
        """Build the network.

        Args:
            in_channels: numbers that every latent vector has.
            out_channels: channels of the image.
            width: as for the encoder.
            depth: as for the encoder.
            blocks: as for the encoder.
            shuffle: as for the encoder.
            activation: as for the encoder.
        """
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.shuffle, self.multiple = shuffle, shuffle << depth
        # What it gives for latents that say nothing.
        self.middle = middle(out_channels)
        self.head = conv(in_channels, widths[-1], after=None)
        self.stages = nn.ModuleList(_stage(each, blocks, activation) for each in reversed(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * each, each, kernel_size=2, stride=2)
            for each in reversed(widths[:-1])
        )
        self.tail = _tail(width, out_channels * shuffle**2)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents."""
        x = self.stages[0](self.head(z))
        for up, stage in zip(self.up, self.stages[1:], strict=True):
            x = stage(up(x))
        return F.pixel_shuffle(self.tail(x), self.shuffle) + self.middle


class LatentNet(Section):
    """Encoder and decoder, which mirror each other, and the latents between them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    latent: Annotated[Whole, Ge(1), Le(4096)] = 48
    """Numbers of a latent vector; one stands for a square of shuffle 2^depth pixels a side."""
    width: Annotated[Whole, Ge(1), Le(1024)] = 64
    """Features at the finest scale; they double at every coarser one."""
    depth: Annotated[Whole, Ge(0), Le(6)] = 1
    """Number of times that the resolution is halved."""
    blocks: Annotated[Whole, Ge(0), Le(16)] = 2
    """Residual blocks of a scale; without any, encoder and decoder are linear."""
    shuffle: Literal[1, 2, 4] = 4
    """Side of the squares of pixels that the networks see as one; 1 is slowest."""
    activation: Activation = "relu"
    """Inside every block."""

    @property
    def multiple(self) -> int:
        """Side of the square of pixels that a latent vector stands for."""
        return self.shuffle << self.depth

    def check(self, channels: int) -> None:
        """Raise `UserError` where the latents are more numbers than the image that they encode."""
        pixels = channels * self.multiple**2
        if self.latent > pixels:
            side = self.multiple
            raise UserError.of(
                "`method.net.latent`",
                f"is `{self.latent}`, and the {side}x{side} pixels that a latent vector stands "
                f"for are {pixels} numbers: there is nothing to be learned",
                f"give `method.net.latent={max(1, pixels // 4)}` or a larger `method.net.depth`",
            )

    def encoder(self, channels: int, numbers: int) -> Encoder:
        """A new encoder of images with so many channels, with so many numbers for a square."""
        return Encoder(channels, numbers, **self._knobs())

    def decoder(self, channels: int) -> Decoder:
        """A new decoder to images with so many channels."""
        return Decoder(self.latent, channels, **self._knobs())

    def _knobs(self) -> dict[str, Any]:
        return self.model_dump(exclude={"latent"})
