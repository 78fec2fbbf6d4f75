"""What `autoencoder` and `vae` share: training on images, reconstruction, pictures of the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.noise import normal
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method, Pictures, Session
from challenge.methods.generative.latent_energy import Energy, Inference, Point, search, starts
from challenge.methods.generative.latent_model import ImagePrior, some
from challenge.methods.networks.autoencoder import LatentNet
from challenge.methods.plug_and_play.strength import check_read
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.training import patches
from challenge.methods.training.fit import check_measurement, check_problem, fit_network
from challenge.methods.training.loop import Observe
from challenge.methods.training.objective import Loss
from challenge.methods.training.precision import InferencePrecision
from challenge.methods.transforms.image_range import compared, confined

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

SHOWN_SIDE = 128
"""Pixels of a side of a picture of the prior, about."""
SHOWN = 8
"""Samples of the prior in a row, and steps of a walk."""
ITERATIONS = 100
"""Conjugate gradient steps of the best image for latents, at most, where it has no closed form:
the gradient in the latents is that of the whole energy only there."""
SILENT = 1e-9
"""Noise of the images that are trained on: none, in float32."""


class LatentMethod(Protocol):
    """A method that has a decoder and a prior on its latents."""

    design: LatentNet
    channels: int
    inference: Inference
    nets: nn.ModuleDict
    prior: ImagePrior
    wiener: WienerFilter
    compute: InferencePrecision

    def codes(self, x: Tensor) -> Tensor:
        """The most likely latents of images (B, C, H, W), as the decoder takes them."""


def check_inference(settings: Inference) -> None:
    """Raise `UserError` for a knob of the search that nothing reads beside the other ones."""
    joint, several = settings.kind == "joint", settings.restarts > 1
    white = settings.residual != "spectrum"
    check_read("inference.residual", changed=white, read=joint, why="with `kind: latent`")
    check_read("inference.seed", changed=settings.seed != 0, read=several, why="with `restarts: 1`")


def decode(method: LatentMethod, z: Tensor, height: int, width: int) -> Tensor:
    """G(z) of normal latents (B, c, h, w), cropped to (B, C, height, width), in float32."""
    made: Tensor = method.compute(method.nets["decoder"], method.prior.coloured(z))
    return made[..., :height, :width]


def encode(method: LatentMethod, x: Tensor) -> Tensor:
    """Normal latents of images (B, C, H, W)."""
    return method.prior.whitened(method.codes(x))


def reconstruct(method: LatentMethod, y: Tensor, physics: LinearPhysics) -> Tensor:
    """G(E(y)) of images y: what training improves, and its evaluations measure."""
    codes = method.codes(y)
    found: Tensor = method.compute(method.nets["decoder"], codes)
    return found[..., : y.shape[-2], : y.shape[-1]]


def points(
    method: LatentMethod, y: Tensor, physics: LinearPhysics, count: int | None = None
) -> Iterator[Point]:
    """Yield where the search for an image begins, and where each of its steps ends.

    Args:
        method: the prior.
        y: measurements, shape (B, C, H', W').
        physics: the operator.
        count: steps instead of `inference.iterations`.

    Raises:
        UserError: the measurements have other channels, or an energy is not finite.
    """
    check_measurement(method.channels, y)
    settings = method.inference
    data = DataTerm(y, physics, iterations=ITERATIONS)
    height, width = data.size
    penalty = None
    if settings.kind == "joint":
        white = settings.residual == "white"
        penalty = method.prior.residual_penalty(height, width, white=white, like=y)
    energy = Energy(data, lambda z: decode(method, z, height, width), penalty)
    with torch.no_grad():
        first = encode(method, confined(method.wiener(data)[0]))
        begin = starts(first, settings)
    yield from search(energy, begin, settings, count or settings.iterations)


def estimates(
    method: LatentMethod, y: Tensor, physics: LinearPhysics, count: int | None = None
) -> Iterator[Tensor]:
    """Yield the estimates of `points`, each (B, C, H, W), of the restart with the lowest energy."""
    for point in points(method, y, physics, count):
        yield point.best().x[0]


def learn(
    method: LatentMethod,
    problem: Problem,
    images: Images,
    train: TrainConfig,
    session: Session,
    *,
    build: Callable[[], nn.ModuleDict],
    loss: Loss,
    output: Callable[[Tensor, LinearPhysics], Tensor],
    observe: Observe | None = None,
    normalise: bool,
) -> None:
    """Train both networks on images, then measure the prior, and try it on a tune image.

    Args:
        method: as its `fit` is called.
        problem: as in `fit`; its operator is not seen.
        images: as in `fit`.
        train: as in `fit`.
        session: as in `fit`.
        build: makes new networks.
        loss: of what `output` gives, and images.
        output: of images, and an operator that changes nothing.
        observe: what else to log of a step.
        normalise: whether latents are made normal after the training.
    """
    assert isinstance(method, Method)
    check_problem(method.channels, problem)
    if train.patch < method.design.multiple:
        raise UserError.of(
            "`method.net`",
            f"a latent vector stands for {method.design.multiple} pixels a side, more than the "
            f"patches of `{train.patch}`",
            f"give `train.patch={2 * method.design.multiple}`, or a smaller `method.net.depth`",
        )
    method.wiener.learn(images)
    clean = Problem(
        problem.name,
        problem.channels,
        schema.Identity(kind="identity"),
        {},
        schema.GaussianNoise(sigma=SILENT),
        problem.key,
        0,
    )
    finished = fit_network(
        method,
        clean,
        images,
        train,
        session,
        net=method.nets,
        build=build,
        precision=method.compute,
        loss=loss,
        output=output,
        observe=observe,
        estimate=lambda kept, y, physics: reconstruct(kept, y, physics),
    )
    if finished:
        rest, tune = split_tune(images, train.tune, session.seed)
        _measure(method, rest, session, normalise)
        _try_out(method, problem, tune, session)


@torch.no_grad()
def _measure(method: LatentMethod, images: Images, session: Session, normalise: bool) -> None:
    """What `ImagePrior` knows, from training images."""
    codes, residuals = [], []
    for image in some(images):
        x = image[None].to(session.fabric.device)
        code = method.codes(x)
        made = method.compute(method.nets["decoder"], code)[..., : x.shape[-2], : x.shape[-1]]
        codes.append(code[0].float().cpu())
        residuals.append((x - made)[0].float().cpu())
    method.prior.learn_residual(residuals)
    if normalise:
        method.prior.learn_latents(codes)


def _try_out(method: LatentMethod, problem: Problem, tune: Images, session: Session) -> None:
    """Reconstruct a tune image, and log the curve of its energy, data term and PSNR."""
    x, y, physics = patches.tune_batch(tune, problem, 0, session.fabric.device)
    total = method.inference.iterations
    with torch.no_grad():
        found = [point.best() for point in points(method, y, physics)]
    truth = patches.compared(x, problem)
    for number, point in enumerate(found):
        error = patches.compared(point.x[0], problem) - truth
        session.log(
            number,
            total,
            energy=float(point.energy),
            data_term=float(point.data_term) / (y.numel() / 2),
            inference_psnr=float(-10 * error.square().mean().clamp_min(1e-10).log10()),
        )


@torch.no_grad()
def pictures(method: LatentMethod, images: Sequence[Tensor]) -> Pictures:
    """What the prior knows: reconstructions, samples, and a walk between two images.

    Args:
        method: with its weights.
        images: at least one, each (C, H, W).
    """
    device = next(method.nets.parameters()).device
    cut = [_centre(image, method.design.multiple).to(device) for image in images]
    side = cut[0].shape[-1]
    rows = []
    for x in cut:
        found = reconstruct(method, x[None], None)[0]
        error = compared(found) - compared(x)
        psnr = float(-10 * error.square().mean().clamp_min(1e-10).log10())
        rows.append([("image", x), (f"G(E(x)) {psnr:.2f} dB", found)])
    places = -(-side // method.design.multiple)
    shape = (SHOWN, method.design.latent, places, places)
    z = torch.from_numpy(normal(b"prior", "sample", 0, shape)).to(device)
    samples = decode(method, z, side, side)
    ends = [encode(method, x[None]) for x in (cut[0], cut[-1])]
    walk = [
        decode(method, torch.lerp(ends[0], ends[1], k / (SHOWN - 1)), side, side)[0]
        for k in range(SHOWN)
    ]
    return {
        "latents": rows,
        "prior": [[(f"sample {n + 1}", each) for n, each in enumerate(samples)]],
        "walk": [[(f"{k / (SHOWN - 1):.2f}", each) for k, each in enumerate(walk)]],
    }


def _centre(image: Tensor, multiple: int) -> Tensor:
    """The centre of an image, SHOWN_SIDE pixels a side or as large as it is."""
    side = min(SHOWN_SIDE // multiple * multiple or multiple, *image.shape[-2:])
    top, left = ((each - side) // 2 for each in image.shape[-2:])
    return image[:, top : top + side, left : left + side]
