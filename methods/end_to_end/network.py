"""Networks that improve Wiener estimates.

    x_hat = w_1 + N([w_0.1, w_1, w_10, sigma]),   w_s = Wiener estimate at strength s

w_s solves A^T A x + s sigma^2 S^-1 x = A^T y: small s is sharp and noisy, large s smooth. The
network N chooses among them from pixel to pixel, which no linear estimate can, and removes what
remains. It is zero before training, so that training starts from the Wiener estimate. Where the
boundary is not circular, y is first continued to a periodic image: the exact estimate takes
conjugate gradients, 40 times as long, and differs near the border only, where the network learns.

After Jin, McCann, Froustey, Unser 2017 (a U-Net on a direct inversion), and Dong, Roth, Schiele
2020 (Wiener deconvolution inside a network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import TrainConfig
from challenge.data.physics.blur import blur
from challenge.methods.contract import Method, Session
from challenge.methods.networks import architectures
from challenge.methods.networks.architectures import ARCHITECTURES, Architecture
from challenge.methods.networks.costs import describe
from challenge.methods.networks.layers import Activation, Normalisation, Pooling
from challenge.methods.training import fit
from challenge.methods.training.loop import READS
from challenge.methods.training.losses import expectation
from challenge.methods.training.precision import Precision
from challenge.methods.transforms.blur import is_circular
from challenge.methods.variational.wiener import wiener

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

STRENGTHS = (0.1, 1.0, 10.0)
BASE = 1
"""Index of the estimate that the network corrects."""
WIENER_ERROR = 0.05
"""About the root mean square error of that estimate, from which a categorical head starts."""


class Network(Method):
    """A network on Wiener estimates, trained on pairs of image and simulated measurement.

        x_hat = w_1 + N([w_0.1, w_1, w_10, sigma]),   min_N E loss(x_hat, x)

    N is a perceptron on patches (`mlp`), a plain convolutional network (`cnn`), one with skip
    connections (`resnet`) or an encoder and decoder (`unet`). With `bins`, N gives a
    distribution over so many intensities, and x_hat is its mean.

    Jin, McCann, Froustey, Unser, Deep Convolutional Neural Network for Inverse Problems in
    Imaging, 2017; Dong, Roth, Schiele, Deep Wiener Deconvolution, 2020.
    """

    reads = READS
    log_spectrum: Tensor
    bf16_cost: Tensor
    variants: ClassVar[Mapping[str, Sequence[str]]] = {"architecture": tuple(ARCHITECTURES)}

    def __init__(
        self,
        *,
        architecture: Architecture = "unet",
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Ge(1), Le(4096)] | None = None,
        depth: Annotated[int, Ge(0), Le(64)] | None = None,
        blocks: Annotated[int, Ge(1), Le(16)] | None = None,
        shuffle: Literal[1, 2, 4] | None = None,
        window: Annotated[int, Ge(1), Le(64)] | None = None,
        patch: Annotated[int, Ge(1), Le(32)] | None = None,
        activation: Activation = "relu",
        normalisation: Normalisation = "none",
        pooling: Pooling | None = None,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        bias_free: bool = False,
        bins: Annotated[int, Ge(2), Le(256)] | None = None,
        precision: Precision = "auto",
    ) -> None:
        """Build the network. A knob that is null has the architecture's own default.

        Args:
            architecture: the kind of network; each has its page in `methods/networks`.
            channels: 3 for colour, 1 for grey images.
            width: features of a layer; of a U-Net at the finest scale.
            depth: hidden layers (mlp, cnn), residual blocks (resnet), coarser scales (unet).
            blocks: residual blocks per scale, on the way down and up (unet).
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            window: side of the square of pixels that is seen at a time (mlp).
            patch: side of the square of pixels that is made from it (mlp).
            activation: after every hidden layer.
            normalisation: before every activation.
            pooling: how a U-Net halves the resolution.
            dropout: share of features left out while training.
            bias_free: no layer adds a constant, so that a rectifier network without normalisation
                is as good on brighter and noisier images alike (Mohan et al. 2020).
            bins: intensities of a categorical head, for `train.loss=cross_entropy`; null: none.
            precision: of inference; `auto` is bfloat16 where the processor multiplies it faster
                and it was seen to cost at most 0.01 dB on the tune part.

        Raises:
            UserError: a knob that this architecture does not have.
        """
        super().__init__()
        self.channels, self.bins, self.precision = channels, bins, precision
        self.architecture = architecture
        self.knobs = architectures.given(
            width=width,
            depth=depth,
            blocks=blocks,
            shuffle=shuffle,
            window=window,
            patch=patch,
            pooling=pooling,
            activation=activation,
            normalisation=normalisation,
            dropout=dropout,
            bias_free=bias_free,
        )
        self.net = self._build()
        fit.register(self)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W)."""
        if self.bins is not None:
            return expectation(self.logits(y, physics))
        estimates, found = self._see(y, physics)
        x_hat: Tensor = estimates[BASE] + found
        return x_hat

    def logits(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Of every channel's distribution over intensities, shape (B, C, bins, H, W).

        The network corrects a normal distribution about the Wiener estimate.
        """
        assert self.bins is not None
        estimates, found = self._see(y, physics)
        levels = torch.linspace(0, 1, self.bins, device=y.device)[:, None, None]
        about = -0.5 * ((levels - estimates[BASE][:, :, None]) / WIENER_ERROR).square()
        batch, _, height, width = found.shape
        return about + found.reshape(batch, self.channels, self.bins, height, width)

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then train the network from its seeded start.

        At the end, on the tune part: round the weights to half precision where that costs at
        most 0.01 dB, and measure what inference in bfloat16 costs.
        """
        if train.loss == "cross_entropy" and self.bins is None:
            raise UserError.of(
                "`train.loss`", "`cross_entropy` needs a categorical head", "give `method.bins=64`"
            )
        output = self.logits if train.loss == "cross_entropy" else None
        fit.learn(
            self,
            problem,
            images,
            train,
            session,
            net=self.net,
            build=self._build,
            output=output,
        )

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        narrow = self._build(width=4)
        return describe(self.net, len(STRENGTHS) * self.channels + 1, narrow)._asdict()

    def _see(self, y: Tensor, physics: LinearPhysics) -> tuple[Tensor, Tensor]:
        """The Wiener estimates (n, B, C, H, W), and what the network says of them, float32."""
        fit.check_channels(self.channels, y)
        estimates = _estimates(y, physics, self.log_spectrum)
        _, count, _, height, width = estimates.shape
        sigma = physics.noise_model.sigma.to(y.dtype).reshape(-1, 1, 1, 1)
        level = sigma.expand(count, 1, height, width)
        seen = torch.cat([*estimates, level], dim=1)
        with fit.computing(self, y.device):
            found: Tensor = self.net(seen)
        return estimates, found.to(y.dtype)

    def _build(self, **other: object) -> nn.Module:
        out_channels = self.channels * (self.bins or 1)
        in_channels = len(STRENGTHS) * self.channels + 1
        return architectures.build(
            self.architecture, in_channels, out_channels, {**self.knobs, **other}
        )


def _estimates(y: Tensor, physics: LinearPhysics, log_spectrum: Tensor) -> Tensor:
    """Wiener estimates at all strengths, shape (n, B, C, H, W), by two FFTs for any boundary."""
    if is_circular(physics):
        return wiener(y, physics, log_spectrum, STRENGTHS)
    height, width = physics.A_adjoint(y).shape[-2:]
    margin = physics.filter.shape[-1]
    top, left = (height - y.shape[-2]) // 2, (width - y.shape[-1]) // 2
    y = _continue(_continue(y, height + margin).mT, width + margin).mT
    y = torch.roll(y, (top, left), (-2, -1))
    _, channels, rows, columns = y.shape
    shape = (channels, rows, columns)
    periodic = blur(physics.filter, physics.noise_model.sigma, "circular", shape)
    return wiener(y, periodic, log_spectrum, STRENGTHS)[..., :height, :width]


def _continue(y: Tensor, rows: int) -> Tensor:
    """Continue y downwards to `rows` rows, periodically: its two mirrored ends, cross-faded."""
    have = y.shape[-2]
    place = torch.arange(rows - have, device=y.device)
    weight = 0.5 - 0.5 * torch.cos(torch.pi * (place + 1) / (len(place) + 1))[:, None]
    below, above = (have - 2 - place) % have, (len(place) - place) % have
    between = (1 - weight) * y[..., below, :] + weight * y[..., above, :]
    return torch.cat([y, between], dim=-2)
