"""What a training run needs to go on exactly: weights, the optimiser's state, counters.

Tensors are named `last.<weight>`, `best.<weight>`, `mean.<weight>` (the running mean, if there
is one) and `optimiser.<parameter>.<slot>`; everything else is JSON. Nothing is pickled. Random
generators are seeded at each step and have no state to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from challenge.configs.errors import UserError
from challenge.methods.training.state import State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FORMAT = 2


def pack(
    state: State,
    method: nn.Module,
    mean: AveragedModel | None,
    best: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    fabric: Fabric,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The checkpoint of a run: named tensors, and JSON-serialisable state."""
    tensors = {f"last.{name}": value for name, value in method.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    if mean is not None:
        tensors |= {f"mean.{name}": value for name, value in mean.module.state_dict().items()}
    for name, parameter in method.named_parameters():
        slots = optimiser.state.get(parameter, {})
        tensors |= {
            f"optimiser.{name}.{slot}": value for slot, value in slots.items() if value is not None
        }
    stored = {"format": FORMAT, "kind": type(optimiser).__name__, **asdict(state)}
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    if scaler is not None:
        stored["scaler"] = scaler.state_dict()
    return tensors, stored


def unpack(
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, Any],
    method: nn.Module,
    mean: AveragedModel | None,
    optimiser: torch.optim.Optimizer,
    fabric: Fabric,
) -> tuple[State, dict[str, Tensor]]:
    """Put a checkpoint back into method and optimiser: (state, best weights).

    Raises:
        UserError: the checkpoint is of another format or of another method.
    """
    last, best = _named(tensors, "last."), _named(tensors, "best.")
    expected = {name: value.shape for name, value in method.state_dict().items()}
    fits = all({n: v.shape for n, v in each.items()} == expected for each in (last, best))
    same = (stored.get("format"), stored.get("kind")) == (FORMAT, type(optimiser).__name__)
    averaged = _named(tensors, "mean.")
    if not (same and fits and bool(averaged) == (mean is not None)):
        raise UserError.of(
            "checkpoint",
            "does not belong to this method and these settings",
            "give the settings it was made with, or start again without `--resume`",
        )
    method.load_state_dict(last)
    if mean is not None:
        mean.module.load_state_dict(averaged)
        mean.n_averaged.fill_(stored["step"])
    for name, parameter in method.named_parameters():
        slots = _named(tensors, f"optimiser.{name}.")
        if slots:
            # Fused kernels walk through memory: their state must lie as the parameter does.
            optimiser.state[parameter] = {
                slot: value.clone() if slot == "step" else torch.empty_like(parameter).copy_(value)
                for slot, value in slots.items()
            }
            if optimiser.defaults.get("fused") and "step" in slots:
                optimiser.state[parameter]["step"] = slots["step"].to(parameter.device)
    if "scaler" in stored:
        fabric.strategy.precision.scaler.load_state_dict(stored["scaler"])
    names = State.__dataclass_fields__
    return State(**{name: stored[name] for name in names if name in stored}), best


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
