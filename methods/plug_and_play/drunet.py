"""DRUNet, a denoiser that is told the noise level.

    x_hat = N([y, sigma])     or, where it predicts the noise,     x_hat = y - N([y, sigma])

sigma is a channel of constant value. N is a U-Net of residual blocks without biases, whose
equations open `networks/drunet.py`. Of complex images (`phase`) it sees y turned by its smooth
phase, and what it says is turned back (`transforms/smooth_phase.py`).

Zhang, Li, Zuo, Zhang, Van Gool, Timofte 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.networks import drunet
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import NoiseRange, fit_denoiser, run_network
from challenge.methods.training.fit import check_measurement
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms import smooth_phase
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class DRUNet(Method):
    """A U-Net that is told the noise level, the denoiser of DPIR.

        x_hat = N([y, sigma]),   min_N E loss(x_hat, x)

    With its default knobs, N is the published network of 32.6 million weights; `width: 48,
    depth: 2, blocks: 2, shuffle: 2, predicts: noise` learns most in an hour on a processor. Zhang,
    Li, Zuo, Zhang, Van Gool, Timofte, Plug-and-Play Image Restoration with Deep Denoiser Prior,
    2021.
    """

    reads = READS
    operators = ("identity",)

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 64,
        depth: Annotated[int, Ge(0), Le(6)] = 3,
        blocks: Annotated[int, Ge(1), Le(16)] = 4,
        shuffle: Literal[1, 2, 4] = 1,
        predicts: Literal["image", "noise"] = "image",
        blind: bool = False,
        channels: Literal[1, 2, 3] = 3,
        phase: bool | None = None,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            width: features at the finest scale; they double at every coarser one.
            depth: coarser scales.
            blocks: residual blocks of a scale, on the way down and on the way up.
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            predicts: the image, or the noise, which is taken off the measurement and begins at 0.
            blind: the network is not told the noise level.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            phase: the network sees complex images turned by their smooth phase; null: where images
                are complex.
            precision: of inference; see `challenge methods network`.

        Raises:
            UserError: `phase` of images that have none.
        """
        super().__init__()
        self.width, self.depth, self.blocks, self.shuffle = width, depth, blocks, shuffle
        self.predicts, self.blind, self.channels = predicts, blind, channels
        self.turned = smooth_phase.seen(phase, channels)
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.compute = InferencePrecision(precision)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        level = None if self.blind else sigma
        if self.turned:
            check_measurement(self.channels, x)  # before it is turned
            phase = smooth_phase.smooth_phase(x)
            seen = run_network(self, smooth_phase.turn_back(x, phase), level)
            found = smooth_phase.turn(seen, phase)
        else:
            found = run_network(self, x, level)
        return found if self.predicts == "image" else x - found

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the problem."""
        fit_denoiser(self, problem, images, train, session, lambda: self._build(self.width))

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        return describe(self.net, self.channels + (not self.blind), self._build(4))._asdict()

    def _build(self, width: int) -> nn.Module:
        return drunet.DRUNet(
            self.channels + (not self.blind),
            self.channels,
            width=width,
            depth=self.depth,
            blocks=self.blocks,
            shuffle=self.shuffle,
            zero_at_start=self.predicts == "noise",
        )
