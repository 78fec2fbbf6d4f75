"""The passes of a splitting algorithm in which a denoiser stands for the prox of a regulariser.

`solvers/proximal.py` has the equations of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from challenge.methods.networks.layers import recompute
from challenge.methods.plug_and_play.noise_schedule import Passes
from challenge.methods.plug_and_play.safeguard import Watch
from challenge.methods.solvers import proximal
from challenge.methods.solvers.data_term import DataTerm

Algorithm = Literal["hqs", "admm", "pgd", "drs"]
Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x of shape (B, C, H, W), noise level of shape (1 | B, 1, 1, 1)) -> estimate."""


def iterate(
    algorithm: Algorithm,
    denoiser: Denoise,
    data: DataTerm,
    passes: Passes,
    x: Tensor,
    count: int,
    watch: Watch | None = None,
    *,
    checkpointed: bool = False,
) -> Iterator[Tensor]:
    """Yield the estimate after every pass, each of shape (B, C, H, W).

    Args:
        algorithm: which one.
        denoiser: D.
        data: the data term.
        passes: levels and penalties; the last ones stay where `count` is more.
        x: the first estimate, shape (B, C, H, W).
        count: so many passes.
        watch: of the estimates; what it finds to diverge stays at its best estimate.
        checkpointed: on the way back, compute each pass again in place of keeping its results.

    Raises:
        Diverges: the watch says so.
    """

    def step(state: proximal.State, level: Tensor, penalty: Tensor) -> proximal.State:
        def prox(v: Tensor) -> Tensor:
            return denoiser(v, level)

        if algorithm == "pgd":
            return proximal.pgd(state, data, prox, 1 / penalty)
        split = {"hqs": proximal.hqs, "admm": proximal.admm, "drs": proximal.drs}
        return split[algorithm](state, data, prox, penalty)

    state = proximal.start(x, data, algorithm)
    last = len(passes.levels) - 1
    for place in range(count):
        k, before = min(place, last), state.x
        if 0 < place <= last:
            ratio = passes.penalties[k - 1] / passes.penalties[k]
            state = proximal.rescaled(state, algorithm, ratio)
        state = recompute(checkpointed, step, state, passes.levels[k], passes.penalties[k])
        if watch is not None:
            kept = watch(state.x, before)
            # What diverges is computed on from where it stood, and may not spoil other images.
            state = state._replace(x=kept, other=torch.where(watch.stopped, kept, state.other))
        yield state.x
