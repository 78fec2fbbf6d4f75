"""Networks that improve a linear estimate.

    x_hat = w_1 + N([w_0.1, w_1, w_10, sigma]),   w_s = Wiener estimate at strength s

w_s solves A^T A x + s sigma^2 S^-1 x = A^T y: small s is sharp and noisy, large s smooth. The
network N chooses among them from pixel to pixel, which no linear estimate can, and removes what
remains. It is zero before training, so that training starts from the Wiener estimate. Where the
boundary of a blur is not circular, y is first continued to a periodic image: the exact estimate
takes conjugate gradients, 40 times as long, and differs near the border only, where the network
learns.

Operators whose Wiener estimate has no closed form, such as inpainting, begin at a pseudo-inverse,

    x_hat = x_0 + N([A^T A 1, x_0, A^T y, sigma]),   x_0 = (A^T A + r)^-1 A^T y,   r = sigma^2 / V

with the variance V of images about their mean, about 0.05: x_0 tends to A_dagger y as sigma tends
to 0. A^T A 1, what each pixel weighs in the measurement, is the mask of inpainting; of magnetic
resonance it is constant, and the network is not told which frequencies were measured.

Of complex images (`phase`), N sees the estimates turned by the smooth phase of the one that it
corrects, and what it says is turned back (`transforms/smooth_phase.py`).

After Jin, McCann, Froustey, Unser 2017 (a U-Net on a direct inversion), and Dong, Roth, Schiele
2020 (Wiener deconvolution inside a network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.magnitude import COMPLEX
from challenge.data.physics.blur import convolution
from challenge.methods.contract import Method, Session
from challenge.methods.networks.architectures import ARCHITECTURES, Net
from challenge.methods.networks.costs import describe
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.loop import READS
from challenge.methods.training.losses import expectation
from challenge.methods.training.precision import InferencePrecision, Precision
from challenge.methods.transforms import smooth_phase
from challenge.methods.transforms.noise_level import noise_level
from challenge.methods.transforms.structure import is_blur, is_circular

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

STRENGTHS = (0.1, 1.0, 10.0)
BASE = 1
"""Index of the estimate that the network corrects."""
VARIANCE = 0.05
"""About that of images in [0, 1]: what a pseudo-inverse is regularised by."""
WIENER_ERROR = 0.05
"""About the root mean square error of that estimate, from which a categorical head starts."""


class Network(Method):
    """A network on Wiener estimates, trained on pairs of image and simulated measurement.

        x_hat = w_1 + N([w_0.1, w_1, w_10, sigma]),   min_N E loss(x_hat, x)

    N is a perceptron on patches (`mlp`), a plain convolutional network (`cnn`), one with skip
    connections (`resnet`) or an encoder and decoder (`unet`). With `bins`, N gives a
    distribution over so many intensities, and x_hat is its mean.

    Where w_s has no closed form, as for inpainting, N corrects a pseudo-inverse, A_dagger y. Jin,
    McCann, Froustey, Unser, Deep Convolutional Neural Network for Inverse Problems in Imaging,
    2017; Dong, Roth, Schiele, Deep Wiener Deconvolution, 2020.
    """

    reads = READS
    variants: ClassVar[Mapping[str, Sequence[str]]] = {"net.architecture": tuple(ARCHITECTURES)}

    def __init__(
        self,
        *,
        net: Net = Net(),
        channels: Literal[1, 2, 3] = 3,
        phase: bool | None = None,
        bins: Annotated[int, Ge(2), Le(256)] | None = None,
        precision: Precision = "auto",
    ) -> None:
        """Build the network.

        Args:
            net: the network N.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            phase: the network sees complex images turned by their smooth phase; null: where images
                are complex.
            bins: intensities of a categorical head, for `train.loss=cross_entropy`; null: none, as
                for complex images.
            precision: of inference; `auto` is bfloat16 where the processor multiplies it faster
                and it was seen to cost at most 0.01 dB on the tune part.

        Raises:
            UserError: `bins` of complex images, whose parts are no intensities; `phase` of real.
        """
        super().__init__()
        if bins is not None and channels == COMPLEX:
            raise UserError.of(
                "`method.bins`",
                "are intensities from 0 to 1, which the parts of complex images are not",
                "leave it out, and give another `train.loss` where that is `cross_entropy`",
            )
        self.design, self.channels, self.bins = net, channels, bins
        self.turned = smooth_phase.seen(phase, channels)
        self.wiener = WienerFilter(STRENGTHS)
        self.net = self._build(net)
        self.compute = InferencePrecision(precision)

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
                "`train.loss`",
                "`cross_entropy` needs a categorical head",
                "give another loss" if self.channels == COMPLEX else "give `method.bins=64`",
            )
        output = self.logits if train.loss == "cross_entropy" else None
        check_problem(self.channels, problem)
        self.wiener.learn(images)
        fit_network(
            self,
            problem,
            images,
            train,
            session,
            net=self.net,
            build=lambda: self._build(self.design),
            precision=self.compute,
            output=output,
        )

    def facts(self) -> dict[str, int | None]:
        """Parameters, multiplications per pixel and receptive field of the network."""
        narrow = self._build(self.design.narrow())
        return describe(self.net, len(STRENGTHS) * self.channels + 1, narrow)._asdict()

    def _see(self, y: Tensor, physics: LinearPhysics) -> tuple[Tensor, Tensor]:
        """The Wiener estimates (n, B, C, H, W), and what the network says of them, float32."""
        check_measurement(self.channels, y)
        estimates, first = _estimates(y, physics, self.wiener)
        _, count, _, height, width = estimates.shape
        level = noise_level(y, physics).expand(count, 1, height, width)
        if not self.turned:
            return estimates, self.compute(self.net, torch.cat([*estimates, level], dim=1))
        phase = smooth_phase.smooth_phase(estimates[BASE])
        seen = smooth_phase.turn_back(torch.cat(tuple(estimates[first:]), dim=1), phase)
        found = self.compute(self.net, torch.cat([*estimates[:first], seen, level], dim=1))
        return estimates, smooth_phase.turn(found, phase)

    def _build(self, design: Net) -> nn.Module:
        return design.build(len(STRENGTHS) * self.channels + 1, self.channels * (self.bins or 1))


def _estimates(y: Tensor, physics: LinearPhysics, wiener: WienerFilter) -> tuple[Tensor, int]:
    """What the network sees of y, shape (n, B, C, H, W), and the index from which these are images.

    Wiener estimates at all strengths, by two FFTs for any boundary, or what stands in their place.
    """
    data = DataTerm(y, physics)
    if is_circular(physics) or data.factor is not None:
        exact: Tensor = wiener(data)
        return exact, 0
    if not is_blur(physics):
        x_0 = data.regularised(data.sigma.square() / VARIANCE)
        weight = physics.A_adjoint(physics.A(torch.ones_like(x_0)))
        return torch.stack([weight.expand_as(x_0), x_0, data.back]), 1
    height, width = data.size
    margin = physics.filter.shape[-1]
    top, left = (height - y.shape[-2]) // 2, (width - y.shape[-1]) // 2
    y = _continue(_continue(y, height + margin).mT, width + margin).mT
    y = torch.roll(y, (top, left), (-2, -1))
    _, channels, rows, columns = y.shape
    shape = (channels, rows, columns)
    periodic = convolution(physics.filter, "circular", shape)
    found: Tensor = wiener(DataTerm(y, periodic, data.sigma))
    return found[..., :height, :width], 0


def _continue(y: Tensor, rows: int) -> Tensor:
    """Continue y downwards to `rows` rows, periodically: its two mirrored ends, cross-faded."""
    have = y.shape[-2]
    place = torch.arange(rows - have, device=y.device)
    weight = 0.5 - 0.5 * torch.cos(torch.pi * (place + 1) / (len(place) + 1))[:, None]
    below, above = (have - 2 - place) % have, (len(place) - place) % have
    between = (1 - weight) * y[..., below, :] + weight * y[..., above, :]
    return torch.cat([y, between], dim=-2)
