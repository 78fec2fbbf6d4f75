"""FFDNet, a fast denoiser that is told the noise level.

    x_hat = N([y, sigma])     or, where it predicts the noise,     x_hat = y - N([y, sigma])

sigma is a map of constant value. N is a chain of convolutions on squares of 2 x 2 pixels, whose
equation opens `networks/ffdnet.py`. Zhang, Zuo, Zhang 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import ffdnet
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import NoiseRange, fit_denoiser, run_network
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class FFDNet(Method):
    """A chain of convolutions at half the resolution, told the noise level.

        x_hat = N([y, sigma]),   min_N E loss(x_hat, x)

    With its default knobs, N is the authors' network for colour images, of 852,108 weights; theirs
    for grey images has `depth: 15, width: 64, channels: 1`. `predicts: noise` learns faster.
    Images of odd size are continued by their last row and column. Zhang, Zuo, Zhang, FFDNet: Toward
    a Fast and Flexible Solution for CNN-based Image Denoising, 2018.
    """

    reads = READS
    operators = ("identity",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 96,
        depth: Annotated[int, Ge(2), Le(100)] = 12,
        bias_free: bool = False,
        predicts: Literal["image", "noise"] = "image",
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            width: features between two convolutions.
            depth: convolutions; one pixel of the estimate depends on 4 depth + 2 rows.
            bias_free: convolutions add no constants.
            predicts: the image, or the noise, which is taken off the measurement and begins at 0.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; see `challenge methods network`.
        """
        super().__init__()
        self.width, self.depth, self.bias_free = width, depth, bias_free
        self.predicts, self.channels = predicts, channels
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        found = run_network(self, x, sigma)
        return found if self.predicts == "image" else x - found

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the problem."""
        fit_denoiser(self, problem, images, train, session, lambda: self._build(self.width))

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        return describe(self.net, self.channels + 1, self._build(4))._asdict()

    def _build(self, width: int) -> nn.Module:
        return ffdnet.FFDNet(
            self.channels,
            width=width,
            depth=self.depth,
            bias=not self.bias_free,
            zero_at_start=self.predicts == "noise",
        )
