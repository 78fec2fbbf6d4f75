"""The parts that every architecture is made of, chosen by name.

    conv -> normalisation -> activation -> dropout

Convolutions keep the size of an image (zeros outside it). A network whose pooling needs sides
that are a multiple of some number pads its input and crops its output itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus"]
Normalisation = Literal["none", "batch", "group", "layer"]
Pooling = Literal["max", "average", "strided"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}
LEAK = 0.01
"""Slope of leaky ReLU below 0, torch's default."""
GROUPS = 8
"""Group normalisation: at most so many groups; as many as divide the channels."""


class LayerNorm(nn.Module):
    """Layer normalisation over the channels of each pixel (Ba, Kiros, Hinton 2016).

    y_c = gamma_c (x_c - mean_c x) / sqrt(var_c x + 1e-5) + beta_c,   x of shape (B, C, H, W)
    """

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.inner = nn.LayerNorm(channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.movedim(1, -1)).movedim(-1, 1)
        return y


def activation(name: Activation) -> nn.Module:
    """The activation of this name, elementwise."""
    return ACTIVATIONS[name]()


def normalisation(name: Normalisation, channels: int, *, bias: bool = True) -> nn.Module:
    """The normalisation of this name for (B, C, H, W); `bias`: whether it adds a constant.

    batch: over batch and pixels, by running statistics at inference (Ioffe, Szegedy 2015);
    group: over pixels and a group of channels (Wu, He 2018); layer: over the channels of a pixel.
    """
    if name == "none":
        return nn.Identity()
    if name == "layer":
        return LayerNorm(channels, bias=bias)
    made: nn.BatchNorm2d | nn.GroupNorm = (
        nn.BatchNorm2d(channels)
        if name == "batch"
        else nn.GroupNorm(math.gcd(channels, GROUPS), channels)
    )
    if not bias:
        made.register_parameter("bias", None)
    return made


def conv(
    in_channels: int,
    out_channels: int,
    *,
    side: int = 3,
    stride: int = 1,
    after: Activation | None = "relu",
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution whose output has the input's size divided by `stride`; side - stride is even.

    Its weights are drawn for the activation `after` it (None: linear): He et al. 2015 for
    rectifiers, Glorot, Bengio 2010 with torch's gain for sigmoid and tanh; biases are 0.
    """
    margin = (side - stride) // 2
    made = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=margin, bias=bias)
    draw(made, after)
    return made


def draw(layer: nn.Conv2d | nn.ConvTranspose2d, after: Activation | None) -> None:
    """Draw the weights of a layer for the activation after it; see `conv`."""
    if after in ("sigmoid", "tanh"):
        nn.init.xavier_normal_(layer.weight, nn.init.calculate_gain(after))
    elif after is None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    else:
        slope = LEAK if after == "leaky_relu" else 0.0
        nn.init.kaiming_normal_(layer.weight, slope, nonlinearity="leaky_relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights 0: the network that ends in it is 0 before training."""
    nn.init.zeros_(layer.weight)
    return layer


def dropout(share: float) -> nn.Module:
    """Set whole channels to 0 with probability `share` while training (Tompson et al. 2015)."""
    return nn.Dropout2d(share) if share else nn.Identity()


def unit(
    in_channels: int,
    out_channels: int,
    *,
    side: int = 3,
    stride: int = 1,
    kind: Activation,
    norm: Normalisation,
    drop: float,
    bias: bool,
) -> nn.Sequential:
    """conv -> normalisation -> activation -> dropout."""
    return nn.Sequential(
        conv(in_channels, out_channels, side=side, stride=stride, after=kind, bias=bias),
        normalisation(norm, out_channels, bias=bias),
        activation(kind),
        dropout(drop),
    )


def pad(x: Tensor, multiple: int) -> Tensor:
    """Replicate the last row and column until both sides are a multiple of `multiple`."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def recompute(checkpointed: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Gradient checkpointing (Chen, Xu, Zhang, Guestrin 2016): memory for time.

    function(*arguments); where `checkpointed` and grad mode is on, its inner results are not
    kept for the way back but computed again there, with the same gradients.
    """
    if checkpointed and torch.is_grad_enabled():
        return checkpoint(function, *arguments, use_reentrant=False)
    return function(*arguments)
