"""Gradient descent on the data term, stopped early.

    x_0 = A^T y,   x_{k+1} = x_k - step A^T (A x_k - y)                    Landweber 1951

Replace it by your own method: `forward` must hold to the contract that `tests/test_method.py`
checks, everything else is free.
"""

from typing import Annotated

from annotated_types import Ge, Gt
from deepinv.physics import LinearPhysics
from torch import Tensor

from challenge.methods import Method


class Mine(Method):
    """Landweber iteration.

    Every argument of the constructor is a knob: give its value in `mine.yaml`, or on the command
    line as `method.steps=20`. What is learned belongs into parameters and registered buffers.
    """

    def __init__(
        self, *, steps: Annotated[int, Ge(1)] = 10, step: Annotated[float, Gt(0)] = 1.0
    ) -> None:
        super().__init__()
        self.steps = steps
        self.step = step

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """y: (B, C, H', W') -> x_hat: (B, C, H, W), float32; the noise level is
        `challenge.methods.noise_level(y, physics)`."""
        x: Tensor = physics.A_adjoint(y)
        for _ in range(self.steps):
            x = x - self.step * physics.A_adjoint(physics.A(x) - y)
        return x

    # To learn, add the method below; `session.log(step, total, loss=...)` shows progress.
    #
    # def fit(self, problem, images, train, session):
    #     x = images[0][None]                       # (1, C, H, W) in [0, 1]
    #     y, physics = problem.measure(x, [0])      # measurement of sample number 0
