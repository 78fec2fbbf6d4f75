"""Some of a method's weights, by what they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import nn

Which = Literal["all", "scalars", "biases", "last"]
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def chosen(method: nn.Module, which: Which) -> list[str]:
    """The names of the weights that a choice means.

    Args:
        method: whose parameters they are.
        which: all; `scalars`, what no layer owns; `biases`, these and the layers' biases; `last`,
            all of the last layer of every network, the children of the method and of its lists.
    """
    names = [name for name, _ in method.named_parameters()]
    if which == "all":
        return names
    layers = {name: each for name, each in method.named_modules() if isinstance(each, LAYERS)}
    if which == "last":
        last = {_network(name, method): name for name in layers}
        owners = set(last.values())
        return [name for name in names if name.rpartition(".")[0] in owners]
    return [
        name
        for name in names
        if name.rpartition(".")[0] not in layers
        or (which == "biases" and name.rpartition(".")[2] == "bias")
    ]


def _network(layer: str, method: nn.Module) -> str:
    """The network of a layer: a child of the method, or one of a list among its children."""
    parts: Iterable[str] = layer.split(".")
    place, here = "", method
    for part in parts:
        place, here = f"{place}.{part}", getattr(here, part)
        if not isinstance(here, nn.ModuleList):
            break
    return place
