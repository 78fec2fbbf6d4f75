"""What is differentiated while a method trains: its loss on a batch, as a module."""

from __future__ import annotations

from collections.abc import Callable

from deepinv.physics import LinearPhysics
from torch import Tensor, nn

from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method
from challenge.methods.training import outputs
from challenge.methods.training.patches import scored

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, x) -> a scalar."""
Output = Callable[[Tensor, LinearPhysics], Tensor]
"""(y, physics) -> what of a method the loss is given."""


class Objective(nn.Module):
    """The loss of a method as a module, which several processes can share."""

    def __init__(self, method: Method, loss: Loss, output: Output | None, problem: Problem) -> None:
        super().__init__()
        self.method, self.loss, self.output, self.problem = method, loss, output, problem

    def forward(self, x: Tensor, y: Tensor, physics: LinearPhysics) -> Tensor:
        """The loss, a scalar, of images (B, C, H, W) and their measurements.

        Raises:
            UserError: the method gives no images.
        """
        if self.output is not None:
            found = self.output(y, physics)
        else:
            found = outputs.check(self.method(y, physics), y, x.shape, self.method)
        return self.loss(scored(found, self.problem), scored(x, self.problem))
