"""A residual network: every block adds a correction to what it is given.

    e_{i+1} = e_i + V_i * s(W_i * e_i)

He, Zhang, Ren, Sun 2016; Lim et al. 2017, EDSR (for images: no activation on the skip, no
normalisation by default, one long skip over all blocks).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import (
    Activation,
    Normalisation,
    activation,
    conv,
    dropout,
    normalisation,
    pad,
    zero,
)


class Block(nn.Module):
    """x + dropout(norm(conv(act(norm(conv(x)))))), at constant width."""

    def __init__(
        self, width: int, *, kind: Activation, norm: Normalisation, drop: float, bias: bool
    ) -> None:
        super().__init__()
        self.first = conv(width, width, after=kind, bias=bias)
        self.first_norm = normalisation(norm, width, bias=bias)
        self.activation = activation(kind)
        self.second = conv(width, width, after="relu", bias=bias)
        self.second_norm = normalisation(norm, width, bias=bias)
        self.dropout = dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        hidden = self.activation(self.first_norm(self.first(x)))
        y: Tensor = x + self.dropout(self.second_norm(self.second(hidden)))
        return y


def blocks(
    width: int, count: int, *, kind: Activation, norm: Normalisation, drop: float, bias: bool
) -> nn.Sequential:
    """`count` residual blocks."""
    return nn.Sequential(
        *(Block(width, kind=kind, norm=norm, drop=drop, bias=bias) for _ in range(count))
    )


class ResNet(nn.Module):
    """A convolution, residual blocks, a convolution; its output is zero before training."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 6,
        shuffle: int = 2,
        activation: Activation = "relu",
        normalisation: Normalisation = "none",
        dropout: float = 0.0,
        bias_free: bool = False,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            width: features of every layer.
            depth: residual blocks of two convolutions each.
            shuffle: side of the square of pixels that becomes channels at the entrance; 1: none.
            activation: inside every block.
            normalisation: after every convolution of a block.
            dropout: share of a block's features left out while training, in [0, 1).
            bias_free: no layer adds a constant (Mohan et al. 2020).
        """
        super().__init__()
        self.multiple = shuffle
        bias = not bias_free
        self.head = conv(in_channels * shuffle**2, width, bias=bias)
        self.blocks = blocks(
            width, depth, kind=activation, norm=normalisation, drop=dropout, bias=bias
        )
        self.tail = zero(conv(width, out_channels * shuffle**2, after=None, bias=bias))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = self.head(F.pixel_unshuffle(pad(x, self.multiple), self.multiple))
        x = self.tail(x + self.blocks(x))
        return F.pixel_shuffle(x, self.multiple)[..., :height, :width]
