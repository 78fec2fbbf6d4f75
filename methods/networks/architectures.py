"""The architectures by name, and the `net:` section of a method that chooses one of them."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le, Lt
from pydantic import ConfigDict, ValidationInfo, field_validator, model_validator
from torch import nn

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Number, Whole, refusal
from challenge.methods.networks.cnn import CNN
from challenge.methods.networks.layers import Activation, Normalisation, Pooling
from challenge.methods.networks.mlp import MLP, check_window
from challenge.methods.networks.resnet import ResNet
from challenge.methods.networks.unet import UNet

Architecture = Literal["mlp", "cnn", "resnet", "unet"]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "unet": UNet,
}


def knobs_of(architecture: str) -> list[str]:
    """The knobs that an architecture has: the arguments of its class but for the channels."""
    arguments = inspect.signature(ARCHITECTURES[architecture]).parameters
    return [name for name in arguments if name not in ("in_channels", "out_channels")]


class Net(Section):
    """A network: its architecture, and knobs of which null is the architecture's own default.

    Channels are no knobs: the method that holds a network knows what it sees and gives.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    architecture: Architecture = "unet"
    """The kind of network; each has its page in `methods/networks`."""
    width: Annotated[Whole, Ge(1), Le(4096)] | None = None
    """Features of a layer; of a U-Net at the finest scale."""
    depth: Annotated[Whole, Ge(0), Le(64)] | None = None
    """Hidden layers (mlp, cnn), residual blocks (resnet), coarser scales (unet)."""
    blocks: Annotated[Whole, Ge(1), Le(16)] | None = None
    """Residual blocks per scale, on the way down and up (unet)."""
    shuffle: Literal[1, 2, 4] | None = None
    """Side of the squares of pixels that the network sees as one; 1 is slowest."""
    window: Annotated[Whole, Ge(1), Le(64)] | None = None
    """Side of the square of pixels that is seen at a time (mlp)."""
    patch: Annotated[Whole, Ge(1), Le(32)] | None = None
    """Side of the square of pixels that is made from it (mlp)."""
    activation: Activation = "relu"
    """After every hidden layer."""
    normalisation: Normalisation = "none"
    """Before every activation."""
    pooling: Pooling | None = None
    """How a U-Net halves the resolution."""
    dropout: Annotated[Number, Ge(0), Lt(1)] = 0.0
    """Share of features left out while training."""
    bias_free: bool = False
    """No layer adds a constant, so that a rectifier network without normalisation is as good on
    brighter and noisier images alike (Mohan et al. 2020)."""

    @field_validator("*")
    @classmethod
    def _known(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a knob that the architecture, validated first, does not have."""
        name, architecture = str(info.field_name), info.data.get("architecture")
        if (
            architecture is None
            or name == "architecture"
            or value == cls.model_fields[name].default
        ):
            return value
        known = knobs_of(architecture)
        if name not in known:
            listed = ", ".join(f"`{each}`" for each in known)
            raise refusal(f"is not a knob of `architecture: {architecture}`", f"it has {listed}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse knobs that do not fit each other."""
        if self.architecture == "mlp":
            sizes = {"window": self.window, "patch": self.patch}
            try:
                check_window(**{name: side for name, side in sizes.items() if side is not None})
            except ValueError as error:
                raise refusal(f"does not fit: {error}") from None
        return self

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """A network (B, in_channels, H, W) -> (B, out_channels, H, W), newly drawn."""
        knobs = self.model_dump(include={*knobs_of(self.architecture)}, exclude_none=True)
        return ARCHITECTURES[self.architecture](
            in_channels=in_channels, out_channels=out_channels, **knobs
        )

    def narrow(self) -> Net:
        """The same with few features: it sees as far, and is measured faster."""
        return self.model_copy(update={"width": 4})
