"""DRUNet: a U-Net of residual blocks without biases.

    u = shuffle_down(x),   e_0 = head u,   e_{i+1} = down_i(blocks e_i)
    d = blocks(e_n),   d <- blocks(up_i(d + e_{i+1})),   output = shuffle_up(tail(d + e_0))

Modules bear the names that deepinv and the authors give them, so that published weights load.
Zhang, Li, Zuo, Zhang, Van Gool, Timofte 2021, Plug-and-Play Image Restoration with Deep Denoiser
Prior, section 3; shuffle: FFDNet (Zhang, Zuo, Zhang 2018), whose squares of pixels become channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import Activation, activation, pad, zero

GAIN = 0.2
"""Of the orthogonal matrices that the weights begin as, the authors' choice."""


class DRUNet(nn.Module):
    """The network of the file's equations, for images of any size.

    Weights are kept channels-last and activations follow them, which is fastest on CPU and GPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 3,
        blocks: int = 4,
        shuffle: int = 1,
        kind: Activation = "relu",
        zero_at_start: bool = False,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input, that of the noise level among them.
            out_channels: channels of the output.
            width: features at the finest scale; they double at every coarser one.
            depth: number of times the resolution is halved.
            blocks: residual blocks of a scale, on the way down and on the way up.
            shuffle: side of the square of pixels that becomes channels at the entrance; 1: none.
            kind: the activation inside every block.
            zero_at_start: whether the output is zero before training.
        """
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.shuffle, self.depth = shuffle, depth
        self.multiple = shuffle << depth

        def stage(features: int) -> list[nn.Module]:
            return [_Block(features, kind) for _ in range(blocks)]

        def conv(inside: int, outside: int) -> nn.Conv2d:
            return nn.Conv2d(inside, outside, 3, padding=1, bias=False)

        self.m_head = conv(in_channels * shuffle**2, width)
        for level, (fine, coarse) in enumerate(zip(widths, widths[1:], strict=False), 1):
            down = nn.Conv2d(fine, coarse, 2, stride=2, bias=False)
            up = nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False)
            self.add_module(f"m_down{level}", nn.Sequential(*stage(fine), down))
            self.add_module(f"m_up{level}", nn.Sequential(up, *stage(fine)))
        self.m_body = nn.Sequential(*stage(widths[-1]))
        self.m_tail = conv(width, out_channels * shuffle**2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.orthogonal_(module.weight, gain=GAIN)
        if zero_at_start:
            zero(self.m_tail)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = self.m_head(F.pixel_unshuffle(pad(x, self.multiple), self.shuffle))
        skips = []
        for level in range(1, self.depth + 1):
            skips.append(x)
            x = self.get_submodule(f"m_down{level}")(x)
        skips.append(x)
        x = self.m_body(x)
        for level in range(self.depth, 0, -1):
            x = self.get_submodule(f"m_up{level}")(x + skips.pop())
        x = F.pixel_shuffle(self.m_tail(x + skips.pop()), self.shuffle)
        return x[..., :height, :width]


class _Block(nn.Module):
    """x + conv(act(conv(x)))."""

    def __init__(self, width: int, kind: Activation) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            activation(kind),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.res(x)
        return y
