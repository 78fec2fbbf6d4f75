"""The checkpoint of a run: the last one that is whole, whatever kills the training.

    checkpoint/state.json            counters, time so far, and which of the two is current:
    checkpoint/tensors-0.safetensors or tensors-1.safetensors

A checkpoint is written into the file that is not current; renaming `state.json` switches to it.
Killed at any moment, a run keeps the old checkpoint or has the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.submissions.layout import Run

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]
    log_bytes: int
    """Length of the log when it was made; what follows is trained once more."""
    seconds: float
    """Of training so far."""


def write(run: Run, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one before stays until this one is whole.

    Raises:
        UserError: the disk is full or cannot be written; the one before stays.
    """
    from safetensors.torch import save

    target, other = run.checkpoint_tensors(0), run.checkpoint_tensors(1)
    if _current(run) == target.name:
        target, other = other, target
    # A copy, for the format refuses tensors that share memory.
    copies = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in checkpoint.tensors.items()
    }
    atomic.write_bytes(target, save(copies))
    head = {
        "format": FORMAT,
        "tensors": target.name,
        "log_bytes": checkpoint.log_bytes,
        "seconds": checkpoint.seconds,
        "state": checkpoint.state,
    }
    atomic.write_text(run.checkpoint_state, json.dumps(head))
    other.unlink(missing_ok=True)


def read(run: Run) -> Checkpoint | None:
    """The checkpoint of a run, None where there is none yet.

    Raises:
        UserError: it is damaged, or of another version of the toolkit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not run.checkpoint_state.exists():
        return None
    try:
        stored = json.loads(run.checkpoint_state.read_bytes())
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        return Checkpoint(
            # Read, not mapped: the file is removed by the next checkpoint.
            load((run.checkpoint / stored["tensors"]).read_bytes()),
            dict(stored["state"]),
            int(stored["log_bytes"]),
            float(stored["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        raise UserError.of(
            run.checkpoint,
            "is damaged, or of another version of the toolkit",
            "train again from the beginning with --force",
        ) from None


class Progress(NamedTuple):
    """How far a training has come."""

    step: int
    seconds: float
    """Of training, as `train.minutes` counts them."""
    total: int | None
    """Steps that it was to have; None while that was not known."""


def progress(run: Run) -> Progress | None:
    """What the checkpoint of a run says of it; None where there is none, or it does not say."""
    try:
        state = json.loads(run.checkpoint_state.read_bytes())["state"]
        return Progress(int(state["step"]), float(state.get("seconds", 0)), state.get("total"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def trained(run: Run) -> bool:
    """Whether `--finish` has weights to take: a checkpoint after at least one step."""
    reached = progress(run)
    return reached is not None and reached.step > 0


def _current(run: Run) -> str | None:
    """The name of the tensors' file that `state.json` points to."""
    try:
        name = json.loads(run.checkpoint_state.read_bytes())["tensors"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(name)
