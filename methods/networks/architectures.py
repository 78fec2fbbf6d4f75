"""The architectures by name, and the knobs of a method that chooses one of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Literal

from torch import nn

from challenge.configs.errors import UserError
from challenge.methods.networks.cnn import CNN
from challenge.methods.networks.mlp import MLP
from challenge.methods.networks.resnet import ResNet
from challenge.methods.networks.unet import UNet

Architecture = Literal["mlp", "cnn", "resnet", "unet"]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "unet": UNet,
}


def given(**knobs: object) -> dict[str, object]:
    """The knobs that are not null; the others have the architecture's own default."""
    return {name: value for name, value in knobs.items() if value is not None}


def build(
    architecture: Architecture, in_channels: int, out_channels: int, knobs: Mapping[str, object]
) -> nn.Module:
    """Build a network (B, in_channels, H, W) -> (B, out_channels, H, W).

    Raises:
        UserError: a knob that this architecture does not have, or a value it refuses.
    """
    reads = inspect.signature(ARCHITECTURES[architecture]).parameters
    for name in knobs:
        if name not in reads:
            known = ", ".join(f"`{each}`" for each in list(reads)[2:])
            raise UserError.of(
                f"`method.{name}`",
                f"is not a knob of `architecture: {architecture}`",
                f"it has {known}",
            )
    try:
        return ARCHITECTURES[architecture](in_channels, out_channels, **knobs)
    except ValueError as error:
        raise UserError.of("`method:`", str(error)) from None
