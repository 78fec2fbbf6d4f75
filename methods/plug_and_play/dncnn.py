"""DnCNN, a denoiser that finds the noise.

    x_hat = y + N(y)     or, where it is told the noise level,     x_hat = y + N([y, sigma])

sigma is a channel of constant value. N is a chain of convolutions, whose equation opens
`networks/dncnn.py`. Zhang, Zuo, Chen, Meng, Zhang 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import dncnn
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import NoiseRange, fit_denoiser, run_network
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class DnCNN(Method):
    """A chain of convolutions that finds the noise.

        x_hat = y + N(y),   min_N E loss(x_hat, x)

    With its default knobs, N is the network that deepinv publishes weights for: it is not told the
    noise level, and is made for one level or learns to guess it. `blind: false` tells it. Without
    biases it is homogeneous, D(c x, c sigma) = c D(x, sigma) for c > 0, and holds beyond the levels
    that it was trained for (Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda 2020). Zhang, Zuo,
    Chen, Meng, Zhang, Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image
    Denoising, 2017.
    """

    reads = READS
    operators = ("identity",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 64,
        depth: Annotated[int, Ge(2), Le(100)] = 20,
        bias_free: bool = False,
        blind: bool = True,
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            width: features between two convolutions.
            depth: convolutions; one pixel of the estimate depends on 2 depth + 1 rows.
            bias_free: convolutions add no constants.
            blind: the network is not told the noise level.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; see `challenge methods network`.
        """
        super().__init__()
        self.width, self.depth, self.bias_free = width, depth, bias_free
        self.blind, self.channels = blind, channels
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        return x + run_network(self, x, None if self.blind else sigma)

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the problem."""
        fit_denoiser(self, problem, images, train, session, lambda: self._build(self.width))

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        return describe(self.net, self.channels + (not self.blind), self._build(4))._asdict()

    def _build(self, width: int) -> nn.Module:
        return dncnn.DnCNN(
            self.channels + (not self.blind),
            self.channels,
            width=width,
            depth=self.depth,
            bias=not self.bias_free,
        )
