"""A network that improves Wiener estimates.

    x_hat = w_1 + U([w_0.1, w_1, w_10, sigma]),   w_s = Wiener estimate at strength s

w_s solves A^T A x + s sigma^2 S^-1 x = A^T y: small s is sharp and noisy, large s smooth. The
network U chooses among them from pixel to pixel, which no linear estimate can, and removes what
remains. It is zero before training, so that training starts from the Wiener estimate. Where the
boundary is not circular, y is first continued to a periodic image: the exact estimate takes
conjugate gradients, 40 times as long, and differs near the border only, where the network learns.

After Jin, McCann, Froustey, Unser 2017 (a U-Net on a direct inversion), and Dong, Roth, Schiele
2020 (Wiener deconvolution inside a network).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from deepinv.physics import BlurFFT
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema import TrainConfig
from challenge.data.operators import blur
from challenge.methods import spectrum
from challenge.methods.contract import Method, Session
from challenge.methods.networks.unet import UNet
from challenge.methods.precision import Precision, autocast
from challenge.methods.training import READS, supervised
from challenge.methods.wiener import wiener

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.problem import Images, Problem

STRENGTHS = (0.1, 1.0, 10.0)
BASE = 1
"""Index of the estimate that the network corrects."""
SPECTRUM_IMAGES = 64
"""The power spectrum, 48 numbers, is known from this many images."""


class Network(Method):
    """A U-Net on Wiener estimates, trained on pairs of image and simulated measurement.

        x_hat = w_1 + U([w_0.1, w_1, w_10, sigma]),   min_U E ||x_hat - x||^2

    Jin, McCann, Froustey, Unser, Deep Convolutional Neural Network for Inverse Problems in
    Imaging, 2017; Dong, Roth, Schiele, Deep Wiener Deconvolution, 2020.
    """

    reads = READS

    def __init__(
        self,
        *,
        architecture: Literal["unet"] = "unet",
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Ge(4), Le(512)] = 32,
        depth: Annotated[int, Ge(0), Le(5)] = 2,
        blocks: Annotated[int, Ge(1), Le(16)] = 2,
        shuffle: Literal[1, 2, 4] = 2,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            architecture: the kind of network; there is one so far.
            channels: 3 for colour, 1 for grey images.
            width: features at the finest scale, doubled at each coarser one.
            depth: number of coarser scales.
            blocks: residual blocks per scale, on the way down and up.
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            precision: of inference; `auto` is bfloat16 where the processor multiplies it faster.
        """
        super().__init__()
        self.channels = channels
        self.precision: Precision = precision
        self.shape = {"width": width, "depth": depth, "blocks": blocks, "shuffle": shuffle}
        self.net = self._build()
        self.log_spectrum: Tensor
        self.register_buffer("log_spectrum", spectrum.typical())

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W)."""
        if y.shape[1] != self.channels:
            raise UserError.of(
                "`method.channels`",
                f"the network is made for `{self.channels}`, the measurement has `{y.shape[1]}`",
                f"train with `method.channels={y.shape[1]}`",
            )
        estimates = _estimates(y, physics, self.log_spectrum)
        _, count, _, height, width = estimates.shape
        sigma = physics.noise_model.sigma.to(y.dtype).reshape(-1, 1, 1, 1)
        level = sigma.expand(count, 1, height, width)
        seen = torch.cat([*estimates, level], dim=1)
        # While it trains, Lightning Fabric's precision rules.
        with nullcontext() if self.training else autocast(self.precision, y.device):
            residual = self.net(seen)
        x_hat: Tensor = estimates[BASE] + residual.float()
        return x_hat

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the images' power spectrum, then train the network from its seeded start."""
        if problem.channels != self.channels:
            raise UserError.of(
                "`method.channels`",
                f"is `{self.channels}`, the images of `{problem.name}` have `{problem.channels}`",
                f"give `method.channels={problem.channels}`",
            )
        some = images.subset(range(0, len(images), -(-len(images) // SPECTRUM_IMAGES)))
        self.log_spectrum.copy_(spectrum.estimate(some))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(session.seed)
            self.net.load_state_dict(self._build().state_dict())
        supervised(self, problem, images, train, session)

    def _build(self) -> UNet:
        return UNet(len(STRENGTHS) * self.channels + 1, self.channels, **self.shape)


def _estimates(y: Tensor, physics: LinearPhysics, log_spectrum: Tensor) -> Tensor:
    """Wiener estimates at all strengths, shape (n, B, C, H, W), by two FFTs for any boundary."""
    if isinstance(physics, BlurFFT):
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
