"""What the convergence theorems ask of a denoiser, measured at points around one image.

    ||J||, ||I - J||, ||2 J - I||     lower bounds of the Lipschitz constants of D, I - D, 2 D - I
    data            the image, and the image with noise of the level
    noise           independent uniform values in [0, 1]: no image
    adversarial     found by ascent from the noisy image, no further from it than the noise is

    asymmetry       ||J - J^T||_F / ||J||_F
    homogeneity     ||D((1 + e) x) - (1 + e) D(x)|| / (e ||D(x)||) at the fixed level
    radius, least   an eigenvalue of J, and a Rayleigh quotient <v, J v> / <v, v>

The level of D is fixed: D is a function of x alone. All is computed in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from challenge.methods.solvers import jacobian
from challenge.methods.solvers.jacobian import REFLECTED, RESIDUAL, WHOLE, Combination, Jacobian
from challenge.methods.training.precision import InferencePrecision

Map = Callable[[Tensor], Tensor]
Norms = dict[str, float]
"""By the kind of the point: `data`, `noise`, `adversarial`."""

MAPS: dict[str, Combination] = {"D": WHOLE, "I - D": RESIDUAL, "2D - I": REFLECTED}
KINDS = ("data", "noise", "adversarial")
STEPS = 12
"""Products with M^T M for a norm."""
ASCENT = 8
"""Steps to an adversarial point."""
PROBES = 4
"""Random directions for the asymmetry."""
STRETCH = 0.01
"""e of the homogeneity."""
LEAST_RADIUS = 2 / 255
"""Of the ascent, where there is hardly any noise."""
SYMMETRIC = 1e-3
"""An asymmetry below is float32's rounding."""
CONVERGED = 0.01
"""An eigenvalue whose residual is a larger share of it is none yet."""


@dataclass(frozen=True)
class Properties:
    """Of D at one level, around one image."""

    norms: dict[str, Norms]
    """By the map, `D`, `I - D`, `2D - I`, and the kind of the point."""
    differentiable: bool
    """Whether derivatives agree with values at every point; else norms are from differences."""
    homogeneity: float
    asymmetry: float | None
    """None where D has no derivative; as for the next ones."""
    least: float | None
    radius: float | None
    """None also where no eigenvalue converged."""

    def lower(self, name: str) -> float:
        """The largest norm seen of a map."""
        return max(self.norms[name].values())


def generator(*words: object) -> torch.Generator:
    """Random numbers that depend on nothing but the words."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def normal(x: Tensor, *words: object) -> Tensor:
    """Standard normal values of the shape of x."""
    return torch.randn(x.shape, generator=generator(*words)).to(x)


def measure(
    denoiser: Map, image: Tensor, level: float, name: str, seed: int = 0, steps: int = STEPS
) -> Properties:
    """Measure D around one image.

    Args:
        denoiser: D at the level, (1, C, H, W) to the same shape.
        image: without noise, shape (1, C, H, W).
        level: of the noise at the points, in units of the image range.
        name: of the image; random numbers depend on it and on the seed alone.
        seed: of all random numbers.
        steps: products with M^T M for a norm.
    """

    def random(what: str) -> Tensor:
        return normal(image, seed, name, level, what)

    noisy = image + level * random("noise")
    uniform = torch.rand(image.shape, generator=generator(seed, name, "uniform")).to(image)
    at = {
        "data": [Jacobian(denoiser, noisy), Jacobian(denoiser, image)],
        "noise": [Jacobian(denoiser, uniform)],
    }
    exact = all(each.exact for places in at.values() for each in places)
    norms: dict[str, Norms] = {}
    for word, of in MAPS.items():
        start = random(f"start {word}")
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        direction = start
        for kind, places in at.items():
            for each in places:
                value, v = jacobian.norm(each, start, steps, of)
                found[kind].append(float(value))
                direction = v if each is at["data"][0] else direction
        # The noisy image itself is one of the points that the ascent may end at.
        found["adversarial"] = [
            found["data"][0],
            *_adversarial(denoiser, noisy, direction, level, steps, of, exact),
        ]
        norms[word] = {kind: max(values) for kind, values in found.items()}
    first = at["data"][0]
    if not exact:
        return Properties(norms, False, homogeneity(denoiser, noisy), None, None, None)
    places = [each for kind in at.values() for each in kind]
    probes = [random(f"probe {k}") for k in range(PROBES)]
    asymmetry = max(float(jacobian.asymmetry(each, probes)) for each in places)
    ends = [jacobian.symmetric_part(each, random("least"), steps) for each in places]
    if asymmetry <= SYMMETRIC:  # Ritz values are within the spectrum
        radius: float | None = max(float(end.abs()) for pair in ends for end in pair)
    else:
        radius = _radius(first, random("radius"), 2 * steps)
    return Properties(
        norms,
        True,
        max(homogeneity(denoiser, each.x) for each in places),
        asymmetry,
        min(float(least) for least, _ in ends),
        radius,
    )


def _adversarial(
    denoiser: Map,
    noisy: Tensor,
    direction: Tensor,
    level: float,
    steps: int,
    of: Combination,
    exact: bool,
) -> list[float]:
    """What the ascent saw on its way, and the norm where it ended."""
    if not exact:
        # No gradient leads anywhere: a finer look from where the noise is.
        there = Jacobian(denoiser, noisy)
        return [float(jacobian.norm(there, direction, 2 * steps, of)[0])]
    radius = max(level, LEAST_RADIUS)
    point, quotient = jacobian.ascend(denoiser, noisy, direction, radius, ASCENT, of)
    value, _ = jacobian.norm(Jacobian(denoiser, point), direction, steps, of)
    return [float(quotient), float(value)]


def _radius(at: Jacobian, start: Tensor, steps: int) -> float | None:
    value, rest = jacobian.spectral_radius(at, start, steps)
    return float(value) if float(rest) <= CONVERGED * float(value) else None


@torch.no_grad()
def homogeneity(denoiser: Map, x: Tensor, e: float = STRETCH) -> float:
    """||D((1 + e) x) - (1 + e) D(x)|| / (e ||D(x)||); 0 where D is homogeneous at x."""
    value = denoiser(x)
    off = denoiser((1 + e) * x) - (1 + e) * value
    return float(off.norm() / (e * value.norm()).clamp_min(torch.finfo(x.dtype).tiny))


@contextmanager
def in_float32(method: nn.Module) -> Iterator[None]:
    """All networks of a method compute in float32: products with fewer bits are no derivatives."""
    with ExitStack() as stack:
        for module in method.modules():
            if isinstance(module, InferencePrecision):
                stack.enter_context(module.fixed("float32"))
        yield
