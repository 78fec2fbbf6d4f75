"""The energies of a latent prior, and how they are minimised.

    latent    min_z    1/(2 sigma^2) ||A G(z) - y||^2 + 1/2 ||z||^2
    joint     min_x,z  1/(2 sigma^2) ||A x - y||^2 + 1/2 <x - G(z), S^-1 (x - G(z))> + 1/2 ||z||^2

The first looks for an image in the range of G: Bora, Jalal, Price, Dimakis 2017. The second lets x
leave the range. It is -log p(x, z | y) for z ~ N(0, I) and x | z ~ N(G(z), S): González, Almansa,
Tan 2022, whose S is gamma^2 I; deviations from the range that are paid for are of Dhar, Grover,
Ermon 2018, who pay by their l1 norm. Here S may also be the spectrum of what G misses.

For every z the best x is known, argmin_x = (A^T A + R)^-1 (A^T y + R G(z)) with R = sigma^2 S^-1: a
data step (`solvers/data_term.py`). So x is eliminated (variable projection, Golub, Pereyra 1973),
and what is left is minimised over z by Adam (Kingma, Ba 2015) with a step that falls to 0. The
gradient in z at that x is the one of the whole: that in x is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Number, Seed, Whole
from challenge.data.noise import normal
from challenge.methods.solvers.data_term import DataTerm

Kind = Literal["latent", "joint"]
FIRST_MOMENT, SECOND_MOMENT, TINY = 0.9, 0.99, 1e-8
"""Adam's beta_1, beta_2 and epsilon; a memory of 100 steps is that of the whole search."""


class Inference(Section):
    """How an image is sought, given a measurement."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Kind = "joint"
    """Whether the image lies in the range of the decoder (`latent`) or near it (`joint`)."""
    residual: Literal["spectrum", "white"] = "spectrum"
    """What images have beyond the range: noise with the measured power spectrum, or white noise of
    the same variance (joint)."""
    iterations: Annotated[Whole, Ge(1), Le(10000)] = 40
    """Steps of Adam."""
    step: Annotated[Number, Gt(0), Le(10)] = 0.05
    """Of Adam at first, in units of the latents' standard deviation; it falls to 0."""
    restarts: Annotated[Whole, Ge(1), Le(64)] = 1
    """Latents to begin at: those of the Wiener estimate, then draws from the prior; of every image
    the result with the lowest energy is taken."""
    seed: Seed = 0
    """Of the draws."""


class Point(NamedTuple):
    """Where a search is; R restarts of B images."""

    x: Tensor
    """The image, shape (R, B, C, H, W)."""
    energy: Tensor
    """Shape (R, B), double precision."""
    data_term: Tensor
    """1/(2 sigma^2) ||A x - y||^2, shape (R, B); about half the number of measurements at the
    truth."""

    def best(self) -> Point:
        """Of every image the restart with the lowest energy: R is 1."""
        place = self.energy.nan_to_num(math.inf).argmin(0, keepdim=True)
        images = place.reshape(*place.shape, 1, 1, 1).expand(1, *self.x.shape[1:])
        return Point(
            self.x.gather(0, images), self.energy.gather(0, place), self.data_term.gather(0, place)
        )


class Energy:
    """The energy of a batch of measurements as a function of latents, and of images."""

    def __init__(
        self, data: DataTerm, decode: Callable[[Tensor], Tensor], penalty: Tensor | None
    ) -> None:
        """Take a batch.

        Args:
            data: of B measurements.
            decode: G, latents (N, c, h, w) to images (N, C, H, W), N a multiple of B.
            penalty: S^-1 on the grid of `rfft2`; None: images do not leave the range of G.
        """
        self.data, self.decode, self.penalty = data, decode, penalty

    def terms(self, x: Tensor, made: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and data term of every image, shape (B,), differentiable, in double precision.

        Args:
            x: images (B, C, H, W).
            made: G(z), of the same shape; where x may not leave the range, x itself.
            z: latents (B, c, h, w).
        """
        error = (self.data.physics.A(x) - self.data.y) / self.data.sigma
        term = _half_square(error)
        energy = term + _half_square(z)
        if self.penalty is not None:
            r = x - made
            pulled = torch.fft.irfft2(torch.fft.rfft2(r) * self.penalty, s=r.shape[-2:])
            energy = energy + (r.double() * pulled.double()).flatten(1).sum(1) / 2
        return energy, term

    @torch.no_grad()
    def image(self, made: Tensor) -> Tensor:
        """The best image for G(z), of its shape (B, C, H, W)."""
        if self.penalty is None:
            return made
        return self.data.prox(made, self.data.sigma.square() * self.penalty)

    def at(self, z: Tensor) -> tuple[Point, Tensor]:
        """The point of latents (R, B, c, h, w), and the gradient of the energy there."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            every = self.decode(z.flatten(0, 1))
            images, energies, terms = [], [], []
            for part, latents in zip(every.reshape(*z.shape[:2], *every.shape[1:]), z, strict=True):
                x = part if self.penalty is None else self.image(part.detach())
                energy, term = self.terms(x, part, latents)
                images.append(x.detach())
                energies.append(energy)
                terms.append(term.detach())
            energy = torch.stack(energies)
            (gradient,) = torch.autograd.grad(energy.sum(), z)
        return Point(torch.stack(images), energy.detach(), torch.stack(terms)), gradient


def search(energy: Energy, z: Tensor, settings: Inference, count: int) -> Iterator[Point]:
    """Yield the point at which the search begins, and those after `count` steps of Adam.

    Args:
        energy: of B measurements.
        z: R latents for each to begin at, shape (R, B, c, h, w).
        settings: the length of the first step.
        count: steps; their length falls to 0.

    Raises:
        UserError: an energy is not finite.
    """
    mean, square = torch.zeros_like(z), torch.zeros_like(z)
    for number in range(count + 1):
        point, gradient = energy.at(z)
        if not bool(point.energy.isfinite().all()):
            raise UserError.of(
                "the search for latents",
                f"has an energy of `{float(point.energy.sum())}` after {number} of {count} steps",
                f"give `method.inference.step={settings.step / 3:.1g}`, or train again",
            )
        yield point
        mean = mean + (1 - FIRST_MOMENT) * (gradient - mean)
        square = square + (1 - SECOND_MOMENT) * (gradient.square() - square)
        upper = mean / (1 - FIRST_MOMENT ** (number + 1))
        lower = (square / (1 - SECOND_MOMENT ** (number + 1))).sqrt() + TINY
        length = settings.step * (1 + math.cos(math.pi * number / count)) / 2
        z = z - length * upper / lower


def starts(first: Tensor, settings: Inference) -> Tensor:
    """Latents to begin at, (R, B, c, h, w): `first` (B, c, h, w), then draws from N(0, I).

    A draw is a function of the seed, its number and the size of the latents: it is the same for
    all images, whatever else is in the batch.
    """
    key = settings.seed.to_bytes(8, "big")
    found = [first]
    for number in range(1, settings.restarts):
        drawn = torch.from_numpy(normal(key, "restart", number, tuple(first.shape[1:])))
        found.append(drawn.to(first).expand_as(first))
    return torch.stack(found)


def _half_square(values: Tensor) -> Tensor:
    return values.double().square().flatten(1).sum(1) / 2
