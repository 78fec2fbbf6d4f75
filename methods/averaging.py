"""A running mean of the weights while they are trained.

    m_t = d_t m_{t-1} + (1 - d_t) w_t,   d_t = min(decay, (1 + t) / (10 + t))

Polyak, Juditsky 1992; the exponential form with a short memory at first, as in TensorFlow's
ExponentialMovingAverage, so that the random start is soon forgotten.
"""

from __future__ import annotations

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from challenge.methods.contract import Method

Tensors = tuple[Tensor, ...] | list[Tensor]


def running_mean(method: Method, decay: float) -> AveragedModel:
    """A copy of `method` whose `update_parameters(method)` takes the running mean one step on.

    Buffers, the statistics of batch normalisation, are averaged as well.
    """

    def update(mean: Tensors, current: Tensors, count: Tensor | int) -> None:
        t = int(count)
        step = get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))  # type: ignore[no-untyped-call]
        step(mean, current, count)

    return AveragedModel(method, multi_avg_fn=update, use_buffers=True)
