"""A plain convolutional network: 3x3 convolutions one after the other.

    e_1 = s(W_1 * x + b_1),   e_{i+1} = s(W_i * e_i + b_i),   output = W_L * e_L + b_L

LeCun et al. 1989; Zhang, Zuo, Chen, Meng, Zhang 2017, DnCNN (for images: all layers at full
resolution, normalisation between convolution and activation).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import Activation, Normalisation, conv, pad, unit, zero


class CNN(nn.Module):
    """`depth` hidden convolutions and a last one; its output is zero before training."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 8,
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
            depth: hidden layers; 0: one linear filter.
            shuffle: side of the square of pixels that becomes channels at the entrance; 1: none.
            activation: after every hidden convolution.
            normalisation: before every activation.
            dropout: share of features left out while training, in [0, 1).
            bias_free: no layer adds a constant (Mohan et al. 2020).
        """
        super().__init__()
        self.multiple = shuffle
        sizes = [in_channels * shuffle**2, *[width] * depth]
        self.hidden = nn.Sequential(
            *(
                unit(a, b, kind=activation, norm=normalisation, drop=dropout, bias=not bias_free)
                for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            )
        )
        self.tail = zero(conv(sizes[-1], out_channels * shuffle**2, after=None, bias=not bias_free))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = F.pixel_unshuffle(pad(x, self.multiple), self.multiple)
        x = self.tail(self.hidden(x))
        return F.pixel_shuffle(x, self.multiple)[..., :height, :width]
