"""A variational autoencoder, and reconstruction with it as the prior.

    max  E_q log p(x | z) - beta KL(q(z | x) || N(0, I)),   q(z | x) = N(mu(x), diag s^2(x))

The bound and its terms open `elbo.py`, the networks `networks/autoencoder.py`. It is trained on
images alone: nothing of the operator is learned, so that a training serves any operator. What is
done with it, given a measurement, opens `latent_energy.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Pictures, Session
from challenge.methods.generative import elbo, latent_model, latent_prior
from challenge.methods.generative.latent_energy import Inference
from challenge.methods.generative.latent_model import ImagePrior
from challenge.methods.networks.autoencoder import LatentNet
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.loop import READS
from challenge.methods.training.precision import InferencePrecision, Precision

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

FIRST_DEVIATION = 0.1
"""The decoder's standard deviation before it is learned."""
FASTER = 10.0
"""By how much faster its logarithm is learned than a weight: it has a longer way to go."""


class VAE(Method):
    """A variational autoencoder as the prior: latents are sought that explain the measurement.

        min_x,z 1/(2 sigma^2) ||A x - y||^2 + 1/2 ||x - G(z)||^2_{S^-1} + 1/2 ||z||^2

    The decoder G is trained on images by the evidence lower bound (Kingma, Welling, Auto-Encoding
    Variational Bayes, 2014). With `inference.kind: latent` the image stays in the range of G,
    x = G(z) (Bora, Jalal, Price, Dimakis, Compressed Sensing using Generative Models, 2017); the
    joint posterior maximum is of González, Almansa, Tan, Solving Inverse Problems by Joint
    Posterior Maximization with Autoencoding Prior, 2022.
    """

    reads = tuple(key for key in READS if key != "loss")

    def __init__(
        self,
        *,
        net: LatentNet = LatentNet(),
        beta: Annotated[float, Ge(0), Le(1000)] = 1.0,
        free_bits: Annotated[float, Ge(0), Le(16)] = 0.0,
        deviation: Annotated[float, Gt(0), Le(1)] | Literal["learned"] = "learned",
        inference: Inference = Inference(),
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "auto",
    ) -> None:
        """Build the networks.

        Args:
            net: encoder and decoder.
            beta: weight of the rate in the bound; 1 is the bound itself.
            free_bits: bits that a channel of the latents carries at no cost, at every place.
            deviation: the decoder's standard deviation gamma, in units of the image range; learned
                with the networks where no number is given.
            inference: how an image is sought, given a measurement.
            channels: 3 for colour, 2 for complex, 1 for grey images; `challenge train` takes those
                of the challenge where the config says none.
            precision: of inference; see `challenge methods network`.

        Raises:
            UserError: the latents are more numbers than the image, or a knob of the search that
                nothing reads.
        """
        super().__init__()
        net.check(channels)
        latent_prior.check_inference(inference)
        self.design, self.beta, self.free_bits = net, beta, free_bits
        self.deviation, self.inference, self.channels = deviation, inference, channels
        self.nets = self._build()
        self.scaled = nn.Parameter(torch.zeros(()), requires_grad=deviation == "learned")
        self.prior = ImagePrior(net.latent)
        self.wiener = WienerFilter()
        self.compute = InferencePrecision(precision)
        self._seen: dict[str, Tensor] = {}

    @property
    def log_variance(self) -> Tensor:
        """log gamma^2 of the decoder, a scalar."""
        begin = FIRST_DEVIATION if self.deviation == "learned" else self.deviation
        return 2 * math.log(begin) + FASTER * self.scaled

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W)."""
        *_, x_hat = latent_prior.estimates(self, y, physics)
        return x_hat

    def estimates(
        self, y: Tensor, physics: LinearPhysics, count: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the estimate after every step of the search; see `latent_prior.estimates`."""
        yield from latent_prior.estimates(self, y, physics, count)

    def codes(self, x: Tensor) -> Tensor:
        """mu(x), shape (B, c, h, w)."""
        mean, _ = elbo.split(self.compute(self.nets["encoder"], x))
        return mean

    def negative_elbo(self, x: Tensor) -> Tensor:
        """Minus the bound of images (B, C, H, W) with one draw of z, over their numbers: nats."""
        # In bfloat16 an image has 8 bits, and a sum of squares as few.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, log_variance = elbo.split(self.nets["encoder"](x).to(x.dtype))
        z = elbo.reparameterise(mean, log_variance)
        made = self.nets["decoder"](z).to(x.dtype)[..., : x.shape[-2], : x.shape[-1]]
        distortion = elbo.distortion(x, made, self.log_variance).mean()
        nats = elbo.divergence(mean, log_variance)
        rate = elbo.rate(nats, self.free_bits)
        numbers = x[0].numel()
        with torch.no_grad():
            channels = nats.mean((0, 2, 3))
            self._seen = {
                "distortion": distortion / numbers,
                "rate": channels.sum() * nats[0, 0].numel() / numbers,
                "active": (channels > elbo.ACTIVE).sum(),
                "deviation": (self.log_variance / 2).exp(),
            }
        return (distortion + self.beta * rate) / numbers

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train on images alone, measure what the decoder misses, and try the search on one image.

        Raises:
            UserError: the images have other channels, or patches are smaller than what a latent
                vector stands for.
        """
        with torch.no_grad():
            self.scaled.zero_()
        latent_prior.learn(
            self,
            problem,
            images,
            train,
            session,
            build=self._build,
            loss=lambda found, x: found,
            output=lambda y, physics: self.negative_elbo(y),
            observe=lambda: {name: float(value) for name, value in self._seen.items()},
            normalise=False,
        )

    def advice(self, problem: Problem, images: Images) -> str | None:
        """Whether the latents say anything: a decoder may learn to do without them."""
        with torch.no_grad():
            few = [latent_model.centre(images, n)[None] for n in range(min(4, len(images)))]
            device = self.scaled.device
            found = [elbo.split(self.compute(self.nets["encoder"], x.to(device))) for x in few]
            nats = torch.stack([elbo.divergence(*each).mean((0, 2, 3)) for each in found]).mean(0)
        if bool((nats > elbo.ACTIVE).any()):
            return None
        return (
            f"none of the {self.design.latent} channels of latents carries anything: the decoder "
            f"does without them; give a smaller `method.beta` than {self.beta:g}, or "
            "`method.free_bits=0.1`"
        )

    def pictures(self, images: Sequence[Tensor]) -> Pictures:
        """Reconstructions, samples of the prior and a walk; see `latent_prior.pictures`."""
        return latent_prior.pictures(self, images)

    def _build(self) -> nn.ModuleDict:
        latent = self.design.latent
        return nn.ModuleDict(
            {
                "encoder": self.design.encoder(self.channels, 2 * latent),
                "decoder": self.design.decoder(self.channels),
            }
        )
