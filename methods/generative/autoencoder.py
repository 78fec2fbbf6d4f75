"""An autoencoder, and reconstruction with it as the prior.

    min_{E,G} E loss(G(E(x)), x)

Its latents are fewer numbers than the image, and nothing asks them to be normal. After the training
an affine map makes them so: z = L^-1 (E(x) - m) with the mean m and the covariance L L^T of the
latents' channels over training images (ex-post density estimation: Ghosh, Sajjadi, Vergari, Black,
Schoelkopf, From Variational to Deterministic Autoencoders, 2020). What is done with it, given a
measurement, opens `latent_energy.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Pictures, Session
from challenge.methods.generative import latent_prior
from challenge.methods.generative.latent_energy import Inference
from challenge.methods.generative.latent_model import ImagePrior
from challenge.methods.networks.autoencoder import LatentNet
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training.loop import READS
from challenge.methods.training.losses import LOSSES
from challenge.methods.training.precision import InferencePrecision, Precision

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class Autoencoder(Method):
    """An autoencoder as the prior: latents are sought that explain the measurement.

        min_x,z 1/(2 sigma^2) ||A x - y||^2 + 1/2 ||x - G(L z + m)||^2_{S^-1} + 1/2 ||z||^2

    The decoder G is trained on images alone; m and L L^T are mean and covariance of its latents
    (Ghosh, Sajjadi, Vergari, Black, Schoelkopf, From Variational to Deterministic Autoencoders,
    2020). With `inference.kind: latent` the image stays in the range of G (Bora, Jalal, Price,
    Dimakis, Compressed Sensing using Generative Models, 2017), and is about as good as G's own
    reconstruction of it; the joint posterior maximum is of González, Almansa, Tan, Solving Inverse
    Problems by Joint Posterior Maximization with Autoencoding Prior, 2022.
    """

    reads = READS

    def __init__(
        self,
        *,
        net: LatentNet = LatentNet(),
        inference: Inference = Inference(),
        channels: Literal[1, 2, 3] = 3,
        precision: Precision = "auto",
    ) -> None:
        """Build the networks.

        Args:
            net: encoder and decoder.
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
        self.design, self.inference, self.channels = net, inference, channels
        self.nets = self._build()
        self.prior = ImagePrior(net.latent)
        self.wiener = WienerFilter()
        self.compute = InferencePrecision(precision)

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
        """E(x), shape (B, c, h, w)."""
        found: Tensor = self.compute(self.nets["encoder"], x)
        return found

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Train on images alone, make the latents normal, and try the search on one image.

        Raises:
            UserError: the images have other channels, or patches are smaller than what a latent
                vector stands for.
        """
        if train.loss == "cross_entropy":
            raise UserError.of(
                "`train.loss`",
                "`cross_entropy` needs logits, which a decoder has not",
                "give `mse`",
            )
        latent_prior.learn(
            self,
            problem,
            images,
            train,
            session,
            build=self._build,
            loss=LOSSES[train.loss],
            output=lambda y, physics: latent_prior.reconstruct(self, y, physics),
            normalise=True,
        )

    def pictures(self, images: Sequence[Tensor]) -> Pictures:
        """Reconstructions, samples of the prior and a walk; see `latent_prior.pictures`."""
        return latent_prior.pictures(self, images)

    def _build(self) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                "encoder": self.design.encoder(self.channels, self.design.latent),
                "decoder": self.design.decoder(self.channels),
            }
        )
