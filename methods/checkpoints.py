"""What a training run needs to go on exactly: weights, Adam's state, random states, counters.

Tensors are named `last.<weight>`, `best.<weight>`, `adam.<parameter>.<slot>`, `random.<where>`;
everything else is JSON. Nothing is pickled.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError

FORMAT = 1


@dataclass
class State:
    """Where a training run stands."""

    step: int = 0
    """Steps done."""
    total: int | None = None
    """Steps in all; None until `minutes` are turned into steps."""
    best: float = float("-inf")
    """Highest PSNR on the tune part, in dB."""
    best_step: int = 0
    norm: float = 0.0
    """Running mean of the gradient's norm."""
    seconds: float = 0.0
    """Wall clock spent so far, `timed_seconds` of it in `timed_steps` timed steps."""
    timed_seconds: float = 0.0
    timed_steps: int = 0
    evaluation_seconds: float = 0.0
    """Wall clock of the last evaluation."""


def pack(
    state: State, method: nn.Module, best: Mapping[str, Tensor], adam: torch.optim.Adam
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The checkpoint of a run: named tensors, and JSON-serialisable state."""
    tensors = {f"last.{name}": value for name, value in method.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for name, parameter in method.named_parameters():
        slots = adam.state.get(parameter, {})
        tensors |= {f"adam.{name}.{slot}": value for slot, value in slots.items()}
    tensors["random.torch"] = torch.get_rng_state()
    device = next(method.parameters()).device
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return tensors, {
        "format": FORMAT,
        **asdict(state),
        "random": {"numpy": _numpy_state(), "python": random.getstate()},
    }


def unpack(
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, Any],
    method: nn.Module,
    adam: torch.optim.Adam,
) -> tuple[State, dict[str, Tensor]]:
    """Put a checkpoint back into method, optimiser and random generators: (state, best weights).

    Raises:
        UserError: the checkpoint is of another format or of another method.
    """
    last, best = _named(tensors, "last."), _named(tensors, "best.")
    expected = {name: value.shape for name, value in method.state_dict().items()}
    fits = all({n: v.shape for n, v in each.items()} == expected for each in (last, best))
    if stored.get("format") != FORMAT or not fits:
        raise UserError.of(
            "checkpoint",
            "does not belong to this method and these settings",
            "give the settings it was made with, or start again without `--resume`",
        )
    method.load_state_dict(last)
    for name, parameter in method.named_parameters():
        slots = _named(tensors, f"adam.{name}.")
        if slots:
            # Adam's fused kernel walks through memory: its state must lie as the parameter does.
            adam.state[parameter] = {
                slot: value.clone() if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
                for slot, value in slots.items()
            }
            if adam.defaults["fused"]:
                adam.state[parameter]["step"] = slots["step"].to(parameter.device)
    torch.set_rng_state(tensors["random.torch"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"], next(method.parameters()).device)
    _restore_numpy(stored["random"]["numpy"])
    version, internal, gauss = stored["random"]["python"]
    random.setstate((version, tuple(internal), gauss))
    return State(**{name: stored[name] for name in State.__dataclass_fields__}), best


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _numpy_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=False)
    key = state["state"]["key"].tolist()
    return {**state, "state": {**state["state"], "key": key}}


def _restore_numpy(state: dict[str, Any]) -> None:
    key = np.array(state["state"]["key"], dtype=np.uint32)
    np.random.set_state({**state, "state": {**state["state"], "key": key}})
