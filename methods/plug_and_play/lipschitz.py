"""A denoiser whose residual is Lipschitz by construction, with a constant that is certified.

    x_hat = y - bound R(y, sigma),   |R(y, sigma) - R(z, sigma)| <= |y - z|

R is made of convolutions of operator norm at most 1; see `networks/lipschitz.py`. Ryu, Liu,
Wang, Chen, Wang, Yin 2019, Plug-and-Play Methods Provably Converge with Properly Trained
Denoisers, assumption A: I - D has the Lipschitz constant `bound`, so that D has 1 + `bound`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le
from torch import Tensor

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import lipschitz
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import Bounds, NoiseRange, fit_denoiser
from challenge.methods.training.fit import check_measurement
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class Lipschitz(Method):
    """A denoiser whose residual I - D has a certified Lipschitz constant.

        x_hat = y - bound R(y, sigma),   |R(y, sigma) - R(z, sigma)| <= |y - z|

    R is a chain of blocks u - 2 K^T relu(K u + b + sigma c) between two convolutions; each
    convolution is divided by its operator norm where that exceeds 1 (Sedghi, Gupta, Long 2019).
    The constant is that in y, in the Euclidean norm, at any noise level and for any image size:
    sigma enters by biases only. Ryu, Liu, Wang, Chen, Wang, Yin, Plug-and-Play Methods Provably
    Converge with Properly Trained Denoisers, 2019.
    """

    reads = READS
    operators = ("identity",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 64,
        blocks: Annotated[int, Ge(1), Le(64)] = 6,
        shuffle: Literal[1, 2, 4] = 2,
        bound: Annotated[float, Gt(0), Le(10)] = 1.0,
        blind: bool = False,
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "float32",
    ) -> None:
        """Build the network.

        Args:
            width: features of a layer.
            blocks: of two convolutions of 3 x 3 each.
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            bound: Lipschitz constant of I - D, certified up to a thousandth more; below 1, noise
                cannot be removed entirely.
            blind: the network is not told the noise level.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; bf16 rounds, by which the constant holds only roughly.
        """
        super().__init__()
        self.width, self.blocks, self.shuffle = width, blocks, shuffle
        self.bound, self.blind, self.channels = bound, blind, channels
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        check_measurement(self.channels, x)
        with self.compute.context(x.device):
            found: Tensor = self.net(x, None if self.blind else sigma)
        return x - self.bound * found.to(x.dtype)

    def certificate(self) -> Bounds:
        """Upper bounds on Lipschitz constants, from the weights as they are; see `certified`."""
        residual = self.bound * self.net.bound()
        return Bounds(residual=residual, denoiser=1 + residual)

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the problem."""
        fit_denoiser(self, problem, images, train, session, lambda: self._build(self.width))

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        return describe(self.net, self.channels, self._build(4))._asdict()

    def _build(self, width: int) -> lipschitz.Lipschitz:
        return lipschitz.Lipschitz(
            self.channels,
            width=width,
            blocks=self.blocks,
            shuffle=self.shuffle,
            blind=self.blind,
        )
