"""FFDNet: a chain of convolutions on squares of 2 x 2 pixels, beside a map of the noise level.

    output = shuffle_up(conv relu conv ... relu conv [shuffle_down x, sigma])

At half the resolution a convolution costs a quarter and sees twice as far. The map of the noise
level is one channel at that resolution, as in the authors' weights. Modules bear the names that
deepinv gives them; its first layer has four channels for sigma, which together do the same where
the level is one number. Zhang, Zuo, Zhang 2018, FFDNet, section III.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import conv, pad, zero

SHUFFLE = 2
"""Side of the square of pixels that becomes channels."""


class FFDNet(nn.Module):
    """The network of the file's equation, for images of any size.

    Weights are kept channels-last and activations follow them, which is fastest on CPU and GPU.
    """

    multiple = SHUFFLE

    def __init__(
        self,
        channels: int,
        *,
        width: int = 96,
        depth: int = 12,
        bias: bool = True,
        zero_at_start: bool = False,
    ) -> None:
        """Build the network.

        Args:
            channels: of the images; the input has that of the noise level beside them.
            width: features between two convolutions.
            depth: convolutions, 2 at least.
            bias: whether they add constants.
            zero_at_start: whether the output is zero before training.
        """
        super().__init__()
        squares = channels * SHUFFLE**2
        widths = [squares + 1] + [width] * (depth - 1)
        last = conv(width, squares, after=None, bias=bias)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(conv(inside, outside, bias=bias), nn.ReLU(inplace=True))
                for inside, outside in zip(widths, widths[1:], strict=False)
            ),
            zero(last) if zero_at_start else last,
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map images and noise level (B, channels + 1, H, W) to (B, channels, H, W)."""
        height, width = x.shape[-2:]
        image = F.pixel_unshuffle(pad(x[:, :-1], SHUFFLE), SHUFFLE)
        level = x[:, -1:, ::SHUFFLE, ::SHUFFLE]
        found = F.pixel_shuffle(self.blocks(torch.cat([image, level], dim=1)), SHUFFLE)
        return found[..., :height, :width]
