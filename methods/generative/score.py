"""A score network: a denoiser for all noise levels, from none that is seen to no image at all.

    score(x, s) = grad log p_s(x) = (D(x, s) - x) / s^2

where p_s is the density of images with noise of level s (Tweedie's formula: Robbins 1956; Miyasawa
1961). D is a preconditioned network, trained by denoising score matching; its equations open
`score_matching.py`. `samplers.py` turns a score into samples, `diffusion` into samples given a
measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.generative import latent_model
from challenge.methods.generative.score_matching import (
    denoising_error,
    draw_levels,
    precondition,
    weight,
)
from challenge.methods.networks import drunet
from challenge.methods.networks.costs import describe
from challenge.methods.plug_and_play.denoisers import NoiseRange
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms.noise_level import noise_level

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class Score(Method):
    """A denoiser for all noise levels, trained by denoising score matching.

        D(x, s) = x + s^2 grad log p_s(x),   min_D E weight(s) ||D(x + s n, s) - x||^2

    The network is DRUNet's, preconditioned as in EDM; its noise levels follow a log-normal
    distribution, and those of the challenge serve for the evaluation alone. Vincent, A Connection
    Between Score Matching and Denoising Autoencoders, 2011; Song, Ermon, Generative Modeling by
    Estimating Gradients of the Data Distribution, 2019; Karras, Aittala, Aila, Laine, Elucidating
    the Design Space of Diffusion-Based Generative Models, 2022.
    """

    reads = tuple(key for key in READS if key != "loss")
    operators = ("identity",)

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1), Le(1024)] = 48,
        depth: Annotated[int, Ge(0), Le(6)] = 3,
        blocks: Annotated[int, Ge(1), Le(16)] = 2,
        shuffle: Literal[1, 2, 4] = 2,
        log_mean: Annotated[float, Ge(-10), Le(5)] = -1.9,
        log_spread: Annotated[float, Gt(0), Le(5)] = 1.2,
        lowest: Annotated[float, Gt(0), Le(1)] = 0.001,
        highest: Annotated[float, Gt(0), Le(1000)] = 10.0,
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            width: features at the finest scale; they double at every coarser one.
            depth: coarser scales.
            blocks: residual blocks of a scale, on the way down and on the way up.
            shuffle: side of the squares of pixels that the network sees as one; 1 is slowest.
            log_mean: mean of the logarithm of the noise levels of training; -1.9 is a level of
                0.15, EDM's choice for images in [0, 1].
            log_spread: its standard deviation.
            lowest: the lowest noise level of training and of use, in units of the image range.
            highest: the highest one; samples of no measurement begin there.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; see `challenge methods network`.

        Raises:
            UserError: the lowest level is not below the highest.
        """
        super().__init__()
        if lowest >= highest:
            raise UserError.of(
                "`method.lowest`",
                f"is `{lowest:g}`, the highest noise level is `{highest:g}`",
                f"give `method.lowest` below {highest:g}",
            )
        self.width, self.depth, self.blocks, self.shuffle = width, depth, blocks, shuffle
        self.log_mean, self.log_spread = log_mean, log_spread
        self.ends, self.channels = (lowest, highest), channels
        self.net = self._build(width)
        self.levels = NoiseRange()
        self.levels.ends.copy_(torch.tensor(self.ends))
        self.compute = InferencePrecision(precision)
        self.register_buffer("mean", torch.full((1, channels, 1, 1), 0.5))
        self.register_buffer("spread", torch.tensor(0.25))

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Denoise: `y` of shape (B, C, H, W) gives `x_hat` of the same shape."""
        return self.denoise(y, noise_level(y, physics))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, sigma); see `denoisers.Denoiser`."""
        check_measurement(self.channels, x)
        return precondition(self._computed, x, sigma, self.mean, self.spread)

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train the network from its seeded start, for the noise levels of the knobs.

        The PSNR of the tune part, by which the best weights are kept, is that of denoising at the
        levels of the problem.
        """
        check_problem(self.channels, problem)
        self._look_at(images)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.net,
            build=lambda: self._build(self.width),
            precision=self.compute,
            output=lambda y, physics: y,
            loss=self._loss,
        )

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        return describe(self.net, self.channels + 1, self._build(4))._asdict()

    def _loss(self, y: Tensor, x: Tensor) -> Tensor:
        """The loss on images x (B, C, H, W), a scalar.

        The measurement y is not looked at: levels and noise come from the generator that the
        training loop seeds at every step.
        """
        s = draw_levels(len(x), self.log_mean, self.log_spread, self.ends, x)
        error = denoising_error(self.denoise, x, torch.randn_like(x), s)
        return (weight(s, self.spread) * error).mean()

    def _look_at(self, images: Images) -> None:
        """Learn the mean of the images' channels, and their standard deviation about it."""
        pixels = torch.cat([x.flatten(1) for x in latent_model.some(images)], dim=1)
        mean = pixels.mean(1, keepdim=True)
        self.mean.copy_(mean.reshape(1, -1, 1, 1))
        self.spread.copy_((pixels - mean).square().mean().sqrt().clamp_min(1e-3))

    def _computed(self, x: Tensor) -> Tensor:
        found: Tensor = self.compute(self.net, x)
        return found

    def _build(self, width: int) -> nn.Module:
        return drunet.DRUNet(
            self.channels + 1,
            self.channels,
            width=width,
            depth=self.depth,
            blocks=self.blocks,
            shuffle=self.shuffle,
            zero_at_start=True,
        )
