"""Learned gradient descent: steps on the data term, each followed by a small network.

    x_0 = A^T y,   x_{k+1} = z_k + N(z_k),   z_k = x_k - s_k A^T (A x_k - y)

The step sizes s_k and the network N are learned from the training images (Adler, Öktem 2017).
Before training N is zero, and the method is gradient descent that is stopped early (Landweber
1951). Replace it by your own: `forward` must hold to the contract that `tests/test_method.py`
checks, everything else is free.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from deepinv.physics import LinearPhysics
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods import Method, supervised


class Mine(Method):
    """Learned gradient descent.

    Every argument of the constructor is a knob: give its value in `mine.yaml`, or on the command
    line as `method.steps=6`. What is learned belongs into parameters and registered buffers.
    """

    reads = tuple(TrainConfig.model_fields)  # the keys of `train:` that `supervised` knows

    def __init__(
        self,
        *,
        channels: Literal[1, 2, 3] = 3,
        steps: Annotated[int, Ge(1)] = 4,
        width: Annotated[int, Ge(1)] = 16,
    ) -> None:
        """Build the method.

        Args:
            channels: 3 for colour, 2 for complex, 1 for grey images.
            steps: of gradient descent.
            width: features of a layer of the network.
        """
        super().__init__()
        self.sizes = nn.Parameter(torch.ones(steps))
        last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            last,
        )

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """y: (B, C, H', W') -> x_hat: (B, C, H, W), float32; the noise level is
        `challenge.methods.noise_level(y, physics)`."""
        x: Tensor = physics.A_adjoint(y)
        for size in self.sizes:
            z = x - size * physics.A_adjoint(physics.A(x) - y)
            x = z + self.net(z)
        return x

    def fit(self, problem, images, train, session):
        """Learn from pairs of image and simulated measurement.

        `supervised` draws patches, measures them with `problem.measure`, minimises `train.loss`
        and keeps the weights that are best on images which it holds out. In a loop of your own,
        `y, physics = problem.measure(x, [number])` measures images x (B, C, H, W) in [0, 1], and
        `session.log(step, total, loss=...)` shows progress.
        """
        supervised(self, problem, images, train, session)
