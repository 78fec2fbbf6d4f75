"""How many steps `train.minutes` are worth, counted once: at the end of the warm-up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from challenge.configs.schema.training import TrainConfig
from challenge.methods.training import schedules
from challenge.methods.training.state import State

UNTIMED = 5
"""First steps of a process, which are not timed: they allocate and choose kernels."""
ROUNDS, SAMPLE = 20, 100
"""The mean effort of the steps to come is that of SAMPLE of them, computed ROUNDS times at most."""

Effort = Callable[[int, int | None], float]
"""`Method.effort`: the time of a step beside that of the dearest."""


def note(state: State, effort: Effort, took: float) -> None:
    """Count a timed step, which took so many seconds, by its effort."""
    state.timed_steps += effort(state.step - 1, None)
    state.timed_seconds += took


def due(state: State, train: TrainConfig) -> bool:
    """Whether enough is known of the time of a step, or the minutes are over."""
    return state.step >= schedules.WARM_UP or state.seconds >= _whole(train)


def steps(state: State, train: TrainConfig, effort: Effort, took: float) -> int:
    """All steps of a training, those that are done included, as many as fit into its minutes.

    Args:
        state: where the training stands.
        train: its minutes, and the steps from one evaluation to the next.
        effort: of the steps to come.
        took: seconds of the last step, for a training of which none was timed.
    """
    dearest = state.timed_seconds / state.timed_steps if state.timed_steps else took
    evaluation = state.evaluation_seconds / train.evaluate
    left = max(0.0, _whole(train) - state.seconds - state.evaluation_seconds)
    mean, total = 1.0, -1
    # What a step costs may depend on how many there are: a few rounds settle it.
    for _ in range(ROUNDS):
        before, total = total, state.step + int(left / (dearest * mean + evaluation))
        if total == before:
            break
        sample = np.linspace(state.step, max(state.step, total - 1), SAMPLE)
        mean = float(np.mean([effort(int(n), total) for n in sample]))
    return total


def _whole(train: TrainConfig) -> float:
    """The budget in seconds."""
    return 60 * (train.minutes or 0)
