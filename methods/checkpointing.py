"""Gradient checkpointing: memory for time, one layer at a time (Chen, Xu, Zhang, Guestrin 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def layer(checkpointed: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments); where `checkpointed` and grad mode is on, its inner results are not
    kept for the way back but computed again there, with the same gradients."""
    if checkpointed and torch.is_grad_enabled():
        return checkpoint(function, *arguments, use_reentrant=False)
    return function(*arguments)
