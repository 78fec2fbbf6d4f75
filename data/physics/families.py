"""The operator families by name, and what the toolkit does with any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from challenge.data.physics.blur import Blur
from challenge.data.physics.compose import Compose
from challenge.data.physics.ct import CT
from challenge.data.physics.downsampling import Downsampling
from challenge.data.physics.family import Family, Parameters, Shape
from challenge.data.physics.identity import Identity
from challenge.data.physics.inpainting import Inpainting
from challenge.data.physics.mri import MRI

if TYPE_CHECKING:
    import torch
    from deepinv.physics import LinearPhysics

FAMILIES: dict[str, Family[Any]] = {
    "blur": Blur(),
    "identity": Identity(),
    "inpainting": Inpainting(),
    "downsampling": Downsampling(),
    "ct": CT(),
    "mri": MRI(),
}
FAMILIES["compose"] = Compose(FAMILIES)


def of(config: Any) -> Family[Any]:
    """The family of a section `operator:`."""
    return FAMILIES[config.kind]


def build(
    kind: str, drawn: Sequence[Parameters], shape: Shape, device: torch.device | str = "cpu"
) -> LinearPhysics:
    """The operator of a batch, without noise.

    Args:
        kind: of the family.
        drawn: the parameters of every image. An array that is one and the same for all of them
            is kept once, with a leading size of 1.
        shape: (C, H, W) of the images.
        device: of the operator.
    """
    return FAMILIES[kind].build(batched(drawn, device), shape)


def batched(drawn: Sequence[Parameters], device: torch.device | str = "cpu") -> dict[str, Any]:
    """The parameters of several images as those of a batch; see `Family.build`."""
    import torch

    together: dict[str, Any] = {}
    for name, first in drawn[0].items():
        if not isinstance(first, np.ndarray):
            together[name] = first
            continue
        values = [each[name] for each in drawn]
        if all(_is_same(value, first) for value in values):
            values = values[:1]
        together[name] = torch.from_numpy(np.stack(values)).to(device)
    return together


def _is_same(value: Any, first: Any) -> bool:
    """Whether two arrays are one: the same place in memory, whatever object looks at it."""
    return value is first or (
        value.__array_interface__["data"] == first.__array_interface__["data"]
        and value.shape == first.shape
        and value.strides == first.strides
    )
