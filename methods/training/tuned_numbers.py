"""Numbers of a method that were tuned: they travel with its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.methods.training.tuning import between


class TunedNumbers(nn.Module):
    """The values of knobs that are null, as functions of the noise level, once they are tuned."""

    levels: Tensor
    logarithms: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        """Take the knobs that are null; none is tuned yet.

        Args:
            names: of them, in the order in which `tune_several` is given them.
        """
        super().__init__()
        self.names = tuple(names)
        if self.names:
            # No noise level is 0.
            self.register_buffer("levels", torch.zeros(2))
            self.register_buffer("logarithms", torch.zeros(2, len(names)))

    def store(self, levels: Tensor, logarithms: Tensor) -> None:
        """Keep what `tune_several` found."""
        self.levels.copy_(levels)
        self.logarithms.copy_(logarithms)

    def value(self, name: str, sigma: Tensor) -> Tensor:
        """The value of a knob at noise levels, as `sigma` is shaped.

        Raises:
            UserError: it was not tuned yet.
        """
        if not bool((self.levels > 0).all()):
            raise UserError.of(
                f"`method.{name}`",
                "is `null` and was not tuned yet",
                "train first (`challenge train`), or give a number",
            )
        return between(self.levels, self.logarithms[:, self.names.index(name)], sigma)
