"""What operator, noise and metric need of the images: how large they are, which values A x has."""

from __future__ import annotations

from challenge.configs.errors import UserError
from challenge.configs.loader import Source
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import CHANNELS, channels_of
from challenge.data.physics import families, noise_models
from challenge.data.physics.family import Arrays

SMALLEST = 32
"""Pixels that the shorter side of every image needs."""
_WINDOW = 11  # of the metric's SSIM
_ROUNDING = 1e-6
"""A kernel in float32 may sum to a little less than 0."""


def smallest(config: ChallengeConfig, arrays: Arrays, source: Source) -> int:
    """The shortest side that operator and metric can do with; `images.size` must reach it."""
    crop, side = config.metric.crop or 0, families.of(config.operator).smallest
    needed = side(config.operator, arrays)
    least = max(SMALLEST, needed, 2 * crop + _WINDOW)
    if config.images.size < least:
        what = "kernel" if hasattr(config.operator, "kernel") else "operator"
        reasons = [f"a {needed}x{needed} {what}"] if needed > 1 else []
        reasons += [f"a metric that crops {crop}"] if least > needed and crop else []
        cause = f"images of {config.images.size} pixels are too small for {' and '.join(reasons)}"
        place = ("images", "size")
        raise UserError(source.mistake(place, cause, f"at least {least} are needed"))
    # A photograph may lose as much before the operator can take it.
    return least + families.of(config.operator).scale(config.operator) - 1


def check_size(config: ChallengeConfig, arrays: Arrays, source: Source) -> None:
    """Refuse a factor of downsampling that does not divide the images."""
    family, size = families.of(config.operator), config.images.size
    fitting = family.fitting(config.operator, arrays, size)
    if fitting != size:
        factor = family.scale(config.operator)
        cause = f"the operator's factor {factor} does not divide images of {size} pixels"
        if family.border(config.operator, arrays):
            cause += " without their border"
        raise UserError(source.mistake(("images", "size"), cause, f"give `images.size={fitting}`"))


def check_channels(config: ChallengeConfig, source: Source) -> None:
    """Refuse complex images where the operator is for real ones, and the other way round."""
    kind, channels = config.operator.kind, channels_of(config.images)
    takes = families.of(config.operator).channels
    if channels not in takes:
        modes = [mode for mode, count in CHANNELS.items() if count in takes]
        cause = (
            f"images are {config.images.mode}, the operator `{kind}` is for {' or '.join(modes)}"
        )
        remedy = f"give `images.mode={modes[0]}`, or another operator"
        raise UserError(source.mistake(("images", "mode"), cause, remedy))
    if channels == CHANNELS["complex"] and "gain" in noise_models.NAMES[config.noise.kind]:
        cause = (
            f"`{config.noise.kind}` noise is for values that are not negative, images are complex"
        )
        raise UserError(source.mistake(("noise", "kind"), cause, "give gaussian noise"))


def check_range(config: ChallengeConfig, arrays: Arrays, source: Source) -> None:
    """Refuse Poisson noise where the operator makes negative values."""
    low, _ = families.of(config.operator).range(config.operator, arrays)
    if "gain" in noise_models.NAMES[config.noise.kind] and low < -_ROUNDING:
        cause = f"A x reaches {low:.3g}, and Poisson noise is for values that are not negative"
        remedy = "give a kernel without negative values, such as `box`, or gaussian noise"
        raise UserError(source.mistake(("noise", "kind"), cause, remedy))
