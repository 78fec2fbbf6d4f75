"""The optimisers, by name, with weight decay on weights only; clipping, and the running mean.

sgd    v <- mu v + g,  w <- w - lr v (Nesterov: g + mu v)     Sutskever et al. 2013
adam   w <- w - lr m / (sqrt(s) + eps)                         Kingma, Ba 2015
adamw  the same, and w <- w - lr decay w beside it             Loshchilov, Hutter 2019
muon   W <- W - 0.2 lr sqrt(max(n, m)) U V^T of m = U S V^T    matrices alone: `muon.py`
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method
from challenge.methods.training import muon
from challenge.methods.training.muon import Muon
from challenge.methods.training.state import State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Tensors = tuple[Tensor, ...] | list[Tensor]

ADAMS: dict[str, type[torch.optim.Adam]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "muon": Muon,
}

BETA_2 = 0.99
"""Adam's memory of squared gradients: 100 steps, for runs that have a few hundred."""
MEMORY = 0.02
"""The gradient's mean norm, by which `clip` is measured, remembers 1 / MEMORY steps."""


def build(module: nn.Module, train: TrainConfig, *, scaled: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a module's parameters, at the peak learning rate.

    `weight_decay` is for matrices and kernels; biases and normalisation, which have one
    dimension, are left alone. Where there is one, the kernel that updates all at once is used.

    Args:
        module: whose parameters are learned.
        train: the optimiser and its numbers.
        scaled: whether gradients are scaled, as in fp16.
    """
    parameters = [each for each in module.parameters() if each.requires_grad]
    moved = muon.kernels(module) if train.optimiser == "muon" else []
    known = {id(each) for each in moved}
    groups: list[dict[str, Any]] = [
        {"params": moved, "orthogonal": True},
        {"params": [each for each in parameters if each.ndim > 1 and id(each) not in known]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # A fused kernel would divide by fp16's scale itself, after gradients are to be clipped.
    able = all(each.device.type in ("cpu", "cuda") for each in parameters)
    fused = able and not scaled
    if train.optimiser == "sgd":
        return torch.optim.SGD(
            groups,
            lr=train.lr,
            momentum=train.momentum,
            nesterov=train.nesterov,
            weight_decay=train.weight_decay,
            fused=fused,
        )
    return ADAMS[train.optimiser](
        groups,
        lr=train.lr,
        betas=(train.momentum, BETA_2),
        weight_decay=train.weight_decay,
        fused=fused,
    )


def fill_gradients(module: nn.Module) -> None:
    """Give a gradient of zero to every parameter that has none after the way back.

    A method may leave out some parameters for a while. The optimiser counts the same steps for
    all of them, and no process of several has a gradient that another has not.
    """
    for each in module.parameters():
        if each.requires_grad and each.grad is None:
            each.grad = torch.zeros_like(each)


def running_mean(method: Method, decay: float) -> AveragedModel:
    """A copy of `method` whose `update_parameters(method)` takes the running mean one step on.

    m_t = d_t m_{t-1} + (1 - d_t) w_t,   d_t = min(decay, (1 + t) / (10 + t)), the exponential
    form of Polyak, Juditsky 1992, with a short memory at first, as in TensorFlow's
    ExponentialMovingAverage, so that the random start is soon forgotten.

    Buffers, the statistics of batch normalisation, are averaged as well.
    """

    def update(mean: Tensors, current: Tensors, count: Tensor | int) -> None:
        t = int(count)
        step = get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))  # type: ignore[no-untyped-call]
        step(mean, current, count)

    return AveragedModel(method, multi_avg_fn=update, use_buffers=True)


def clip(
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: State,
    train: TrainConfig,
) -> float:
    """Shorten a gradient that is much longer than usual, of which one can undo a run.

    Args:
        fabric: which set up the model and the optimiser.
        model: whose gradient is clipped.
        optimiser: of its parameters.
        state: remembers the mean norm.
        train: `clip`, the longest gradient in units of it.

    Returns:
        The norm before.
    """
    times = train.clip
    limit = times * state.norm if times is not None and state.norm else math.inf
    norm = float(fabric.clip_gradients(model, optimiser, max_norm=limit, error_if_nonfinite=False))
    if math.isfinite(norm):
        state.norm += (min(norm, limit) - state.norm) * (MEMORY if state.norm else 1.0)
    return norm
