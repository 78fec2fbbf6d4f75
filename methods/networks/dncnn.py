"""DnCNN: a chain of convolutions that finds the noise.

    output = out_conv(relu conv ... relu conv (relu in_conv x))

Without the batch normalisation of the paper, which later authors left out too: an image's estimate
then depends on nothing but the image. Modules bear the names that deepinv gives them, so that
published weights load. Zhang, Zuo, Chen, Meng, Zhang 2017, Beyond a Gaussian Denoiser, section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import conv, zero


class DnCNN(nn.Module):
    """The network of the file's equation; its output, the noise, is zero before training.

    Weights are kept channels-last and activations follow them, which is fastest on CPU and GPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 20,
        bias: bool = True,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input, that of the noise level among them.
            out_channels: channels of the output.
            width: features between two convolutions.
            depth: convolutions, 2 at least.
            bias: whether they add constants.
        """
        super().__init__()
        self.in_conv = conv(in_channels, width, bias=bias)
        self.conv_list = nn.ModuleList([conv(width, width, bias=bias) for _ in range(depth - 2)])
        self.out_conv = zero(conv(width, out_channels, after=None, bias=bias))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        x = F.relu(self.in_conv(x), inplace=True)
        for layer in self.conv_list:
            x = F.relu(layer(x), inplace=True)
        noise: Tensor = self.out_conv(x)
        return noise
