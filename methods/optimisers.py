"""The optimisers, by name, with weight decay on weights only.

sgd    v <- mu v + g,  w <- w - lr v (Nesterov: g + mu v)     Sutskever et al. 2013
adam   w <- w - lr m / (sqrt(s) + eps)                         Kingma, Ba 2015
adamw  the same, and w <- w - lr decay w beside it             Loshchilov, Hutter 2019
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from challenge.configs.schema.entry import TrainConfig

BETA_2 = 0.99
"""Adam's memory of squared gradients: 100 steps, for runs that have a few hundred."""


def build(module: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of a module's parameters, at the peak learning rate.

    `weight_decay` is for matrices and kernels; biases and normalisation, which have one
    dimension, are left alone. Where there is one, the kernel that updates all at once is used.
    """
    parameters = [each for each in module.parameters() if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # A fused kernel would divide by fp16's scale itself, after gradients are to be clipped.
    known = all(each.device.type in ("cpu", "cuda") for each in parameters)
    fused = known and train.precision != "fp16"
    if train.optimiser == "sgd":
        return torch.optim.SGD(
            groups,
            lr=train.lr,
            momentum=train.momentum,
            nesterov=train.nesterov,
            weight_decay=train.weight_decay,
            fused=fused,
        )
    kind = torch.optim.Adam if train.optimiser == "adam" else torch.optim.AdamW
    return kind(
        groups,
        lr=train.lr,
        betas=(train.momentum, BETA_2),
        weight_decay=train.weight_decay,
        fused=fused,
    )
