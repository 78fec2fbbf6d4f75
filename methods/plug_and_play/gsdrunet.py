"""Gradient-step denoiser: D is the gradient step of a potential that is known.

    g(x, sigma) = 1/2 |x - N(x, sigma)|^2
    D(x, sigma) = x - grad g(x, sigma) = N(x, sigma) + J^T (x - N(x, sigma)),   J = dN / dx

N is a DRUNet with a smooth activation, see `networks/drunet.py`. Hurault, Leclaire, Papadakis
2022, Gradient Step Denoiser for Convergent Plug-and-Play. D is the gradient of
1/2 |x|^2 - g(x), so that its Jacobian is symmetric, and plug-and-play with it minimises
f + lambda g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import drunet
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import NoiseRange, fit_denoiser, run_network
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class GSDRUNet(Method):
    """A denoiser that is a gradient step on a potential, for plug-and-play with an objective.

        x_hat = y - grad g(y, sigma),   g(x, sigma) = 1/2 |x - N(x, sigma)|^2

    With its default knobs, N is the published network of 17 million weights; `width: 32, depth:
    2, shuffle: 2` learns most in an hour on a processor. A call costs a pass of N forward and
    one backward. Hurault, Leclaire, Papadakis, Gradient Step Denoiser for Convergent
    Plug-and-Play, 2022.
    """

    reads = READS
    operators = ("identity",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 64,
        depth: Annotated[int, Ge(0), Le(6)] = 3,
        blocks: Annotated[int, Ge(1), Le(16)] = 2,
        shuffle: Literal[1, 2, 4] = 1,
        activation: Literal["elu", "softplus", "silu", "gelu"] = "elu",
        blind: bool = False,
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "float32",
    ) -> None:
        """Build the network.

        Args:
            width: features at the finest scale; they double at every coarser one.
            depth: coarser scales.
            blocks: residual blocks of a scale, on the way down and on the way up.
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            activation: differentiable, so that the potential has a continuous gradient.
            blind: the network is not told the noise level.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; bf16 rounds, by which a descent on the potential stalls.
        """
        super().__init__()
        self.width, self.depth, self.blocks, self.shuffle = width, depth, blocks, shuffle
        self.activation, self.blind, self.channels = activation, blind, channels
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def potential(self, x: Tensor, sigma: Tensor) -> Tensor:
        """g(x, sigma), shape (B,); arguments as for `denoise`."""
        found = run_network(self, x, None if self.blind else sigma)
        return (x - found).square().flatten(1).sum(1) / 2

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma), the gradient step; see `denoisers.Denoiser`.

        `torch.func`, and not `torch.autograd`, so that the gradient is there under `no_grad` as
        well, and may itself be differentiated, forward and backward.
        """

        def total(at: Tensor) -> Tensor:
            return self.potential(at, sigma).sum()

        gradient: Tensor = torch.func.grad(total)(x)
        return x - gradient

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the problem."""
        fit_denoiser(self, problem, images, train, session, lambda: self._build(self.width))

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of one pass of N."""
        return describe(self.net, self.channels + (not self.blind), self._build(4))._asdict()

    def _build(self, width: int) -> nn.Module:
        return drunet.DRUNet(
            self.channels + (not self.blind),
            self.channels,
            width=width,
            depth=self.depth,
            blocks=self.blocks,
            shuffle=self.shuffle,
            kind=self.activation,
        )
