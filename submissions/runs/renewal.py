"""Pictures of a training while it goes on: drawn at its evaluations, for next to nothing.

They show the best weights so far. Drawing never takes more than a hundredth of the time, the first
time excepted, counts in no budget, and touches nothing that is trained. If it fails, it is told
once, and the training goes on.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from challenge.methods.contract import Method

SHARE = 0.01
"""Of the time of the training."""
BEST = "best."
"""What the names of the best weights begin with in a checkpoint."""

Draw = Callable[["Method"], object]


class Renewal:
    """Draws a method's best weights, when a checkpoint is saved and time allows it."""

    def __init__(
        self, method: Method, draw: Draw, on_failure: Callable[[Exception], None] | None = None
    ) -> None:
        """`draw` is called with a copy of `method`, and `on_failure` once, where it fails."""
        self._method, self._draw, self._on_failure = method, draw, on_failure
        self._began, self._spent = time.monotonic(), 0.0

    def __call__(self, tensors: Mapping[str, Tensor]) -> None:
        """Draw, if it is time; `tensors` are those of the checkpoint."""
        import torch

        now = time.monotonic()
        if self._spent > SHARE * (now - self._began):
            return
        best = {
            name.removeprefix(BEST): value
            for name, value in tensors.items()
            if name.startswith(BEST)
        }
        try:
            if best:
                shown = copy.deepcopy(self._method)
                shown.load_state_dict(best)
                with torch.random.fork_rng():
                    self._draw(shown)
        except Exception as error:
            self._spent = float("inf")
            if self._on_failure is not None:
                self._on_failure(error)
        else:
            self._spent += time.monotonic() - now
