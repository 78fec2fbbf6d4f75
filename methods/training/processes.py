"""The processes that share each batch of a training: what they agree on, what each draws."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Processes:
    """One process among those that share each batch; mostly there is one."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric, self.device = fabric, fabric.device
        self.rank, self.count = fabric.global_rank, fabric.world_size
        # On this machine; the strategy of a single process does not count it.
        self.here: int = getattr(fabric.strategy, "num_processes", 1)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a value over the processes; taken in place where there are several."""
        if self.count == 1:
            return value
        found: Tensor = self.fabric.all_reduce(value, reduce_op="mean")
        return found

    def any(self, mine: bool) -> bool:
        """Whether any process says so: all of them do the same."""
        if self.count == 1:
            return mine
        return bool(self.mean(torch.tensor(float(mine), device=self.device)) > 0)

    def seed(self, seed: int, step: int) -> None:
        """Seed what a method may draw from in a step, such as dropout: torch, numpy and python."""
        digest = hashlib.sha256(f"training step {seed} {step} {self.rank}".encode()).digest()
        number = int.from_bytes(digest[:4], "big")
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
