"""The names of published weights turned into those of the networks that they are for.

Networks bear deepinv's names. FFDNet's authors number all layers, convolutions and rectifiers
alike; deepinv's FFDNet shuffles the map of the noise level like the image, so that its first layer
has four channels for it, which see one value and are added up to one. deepinv's gradient-step
denoiser holds its DRUNet inside two others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from challenge.methods.networks.ffdnet import SHUFFLE

STUDENT = "student_grad.model."
"""Before every name of deepinv's GSDRUNet, and of its authors'."""
FIRST = "blocks.0.0.weight"
"""FFDNet's first layer."""


def ffdnet_of_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FFDNet's weights as its authors name them, `model.0.weight`, `model.2.weight` and so on."""
    numbers = [int(name.split(".")[1]) for name in state if name.startswith("model.")]
    found = {}
    for name, value in state.items():
        _, number, kind = name.split(".")
        layer = f"blocks.{int(number) // 2}" + ("" if int(number) == max(numbers) else ".0")
        found[f"{layer}.{kind}"] = value
    return found


def ffdnet_of_deepinv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FFDNet's weights as deepinv has them, with four channels for the noise level."""
    found = dict(state)
    image, level = found[FIRST][:, : -(SHUFFLE**2)], found[FIRST][:, -(SHUFFLE**2) :]
    found[FIRST] = torch.cat([image, level.sum(1, keepdim=True)], dim=1)
    return found


def gsdrunet_of_deepinv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of N of deepinv's GSDRUNet, whose potential has alpha = 1."""
    return {name.removeprefix(STUDENT): value for name, value in state.items()}
