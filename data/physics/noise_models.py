"""The noise of a measurement, in deepinv's parameters; `data.noise` draws its numbers.

    gaussian            y = A x + sigma n
    poisson             y = gain z,             z ~ Poisson(A x / gain)
    poisson_gaussian    y = gain z + sigma n

sigma and gain are in units of the image range [0, 1]: 1 / gain photons make a white pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from challenge.configs.schema import physics as schema
from challenge.data import noise

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from torch import Tensor

Levels = Mapping[str, float]
"""The parameters of one image's noise by name: `sigma`, `gain`."""
NAMES = {"gaussian": ("sigma",), "poisson": ("gain",), "poisson_gaussian": ("gain", "sigma")}
"""The parameters of every kind, in the order in which an image draws them."""


def draw(config: schema.Noise, generator: np.random.Generator) -> Levels:
    """The parameters of one image, each uniform over its range."""
    drawn = {}
    for name in NAMES[config.kind]:
        low, high = ends(getattr(config, name))
        drawn[name] = low + (high - low) * float(generator.random())
    return drawn


def ends(level: float | tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest value of a parameter."""
    return level if isinstance(level, tuple) else (level, level)


def extremes(config: schema.Noise) -> list[schema.Noise]:
    """The noise with the lowest and with the highest parameters; one where they do not vary.

    The lowest are at least a sixteenth of the highest: what is best without noise says nothing of
    how it grows with the noise.
    """
    found: list[schema.Noise] = []
    for lowest in (True, False):
        level = {}
        for name in NAMES[config.kind]:
            low, high = ends(getattr(config, name))
            level[name] = max(low, high / 16) if lowest else high
        fixed = config.model_copy(update=level)
        if fixed not in found:
            found.append(fixed)
    return found


def attach(
    physics: LinearPhysics, kind: str, drawn: Sequence[Levels], like: Tensor
) -> LinearPhysics:
    """Give the operator of a batch its noise model, whose parameters have leading size 1 or B."""
    import torch
    from deepinv.physics import GaussianNoise, PoissonGaussianNoise, PoissonNoise

    models = {
        "gaussian": GaussianNoise,
        # A x is never negative but by rounding.
        "poisson": lambda **levels: PoissonNoise(clip_positive=True, **levels),
        "poisson_gaussian": lambda **levels: PoissonGaussianNoise(clip_positive=True, **levels),
    }
    few = drawn[:1] if all(each == drawn[0] for each in drawn) else drawn
    levels = {
        name: torch.tensor([each[name] for each in few], dtype=like.dtype, device=like.device)
        for name in NAMES[kind]
    }
    physics.noise_model = models[kind](**levels)
    return physics


def add(
    physics: LinearPhysics, x: Tensor, kind: str, key: bytes, draws: Sequence[tuple[str, int]]
) -> Tensor:
    """A x with noise, as the operator adds it: what is not measured stays without.

    Args:
        physics: with its noise model.
        x: images, shape (B, C, H, W).
        kind: of the noise.
        key: of the split.
        draws: (identity, draw) of each image; with the key they decide the noise.
    """
    from deepinv.physics.forward import ComposedPhysics

    # deepinv leaves the noise to the last operator of several.
    last = physics.physics_list[-1] if isinstance(physics, ComposedPhysics) else physics
    model, plain = physics.noise_model, last.noise_model
    last.noise_model = _keyed(model, kind, key, draws)
    y: Tensor = last.noise(physics.A(x))
    last.noise_model = plain
    return y


def _keyed(model: Any, kind: str, key: bytes, draws: Sequence[tuple[str, int]]) -> Any:
    """A noise model with the parameters of `model` whose numbers follow from the key."""
    import torch
    from deepinv.physics.noise import NoiseModel

    class Keyed(NoiseModel):  # type: ignore[misc]
        def forward(self, clean: Tensor, **_: Any) -> Tensor:
            y = clean
            if "gain" in NAMES[kind]:
                gain = model.gain.reshape(-1, 1, 1, 1)
                rates = (clean.double() / gain.double()).clamp_min(0).cpu().numpy()
                z = [noise.poisson(key, *each, r) for each, r in zip(draws, rates, strict=True)]
                y = gain * torch.from_numpy(np.stack(z)).to(clean)
            if "sigma" in NAMES[kind]:
                n = [noise.normal(key, *each, clean.shape[1:]) for each in draws]
                y = y + model.sigma.reshape(-1, 1, 1, 1) * torch.from_numpy(np.stack(n)).to(clean)
            return y

    return Keyed()
