"""A multilayer perceptron on patches, the same one at every place.

    u = W_L s(... s(W_1 p + b_1) ...) + b_L,   p: window of the input, u: patch of the output

With depth 0 it is one affine map, the perceptron without a threshold (Rosenblatt 1958); with
depth 1 the shallow network of the approximation theorems (Cybenko 1989); on patches of images:
Burger, Schuler, Harmeling 2012. The patches tile the image, the windows around them overlap.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from challenge.methods.networks.layers import Activation, Normalisation, conv, pad, unit, zero

WINDOW, PATCH = 12, 4


class MLP(nn.Module):
    """A perceptron of every window; its output is zero before training.

    A convolution with the window's size and the patch's stride is the matrix W_1 applied to
    every window, a 1x1 convolution the matrix of a further layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 256,
        depth: int = 2,
        window: int = WINDOW,
        patch: int = PATCH,
        activation: Activation = "relu",
        normalisation: Normalisation = "none",
        dropout: float = 0.0,
        bias_free: bool = False,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            width: units of a hidden layer.
            depth: hidden layers; 0: an affine map.
            window: side of the square of pixels that is seen, `patch` plus an even number.
            patch: side of the square of pixels that is made from it.
            activation: after every hidden layer.
            normalisation: before every activation.
            dropout: share of hidden units left out while training, in [0, 1).
            bias_free: no layer adds a constant.

        Raises:
            ValueError: the window does not lie symmetrically around the patch.
        """
        super().__init__()
        check_window(window, patch)
        self.multiple = patch
        channels, side, stride = in_channels, window, patch
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers.append(
                unit(
                    channels,
                    width,
                    side=side,
                    stride=stride,
                    kind=activation,
                    norm=normalisation,
                    drop=dropout,
                    bias=not bias_free,
                )
            )
            channels, side, stride = width, 1, 1
        self.hidden = nn.Sequential(*layers)
        self.tail = zero(
            conv(
                channels,
                out_channels * patch**2,
                side=side,
                stride=stride,
                after=None,
                bias=not bias_free,
            )
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), for any H and W."""
        height, width = x.shape[-2:]
        x = self.tail(self.hidden(pad(x, self.multiple)))
        return F.pixel_shuffle(x, self.multiple)[..., :height, :width]


def check_window(window: int = WINDOW, patch: int = PATCH) -> None:
    """Raise `ValueError` where a window does not lie symmetrically around its patch."""
    if window < patch or (window - patch) % 2:
        raise ValueError(
            f"a window of {window} pixels does not lie around a patch of {patch}: "
            "give the patch's side plus an even number"
        )
