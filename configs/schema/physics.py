"""`operator:` and `noise:` of a challenge."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import (
    Gain,
    Gains,
    Level,
    Levels,
    Number,
    Seed,
    Share,
    Shares,
    Whole,
    refusal,
)


class FileKernel(Section):
    """Kernels stored in a file: `.npy`, `.npz`, `.mat` (v7.3 too), a picture.

    Several: one per image.
    """

    kind: Literal["file"] = "file"
    file: Annotated[str, Field(examples=["kernels/motion.npy"])]
    """Looked for beside the YAML file, in the current folder, then among the packaged files."""
    pick: Annotated[Whole, Field(ge=0)] | None = None
    """Use only the kernel with this index, from 0; null: all of them."""


class GaussianKernel(Section):
    """A Gaussian, normalised: slightly out of focus."""

    kind: Literal["gaussian"]
    std: Annotated[Number, Field(gt=0, le=50, examples=[1.6])]
    """Standard deviation in pixels."""


class UniformKernel(Section):
    """The mean over a square: a classical benchmark, whose spectrum has zeros."""

    kind: Literal["uniform"]
    size: Annotated[Whole, Field(ge=1, le=255, examples=[9])]
    """Side of the square in pixels."""


class DiskKernel(Section):
    """The mean over a disk: a camera that is out of focus."""

    kind: Literal["disk"]
    radius: Annotated[Number, Field(gt=0, le=127, examples=[3.5])]
    """Radius in pixels (defocus)."""


class MotionKernel(Section):
    """Random camera shake: smooth trajectories, drawn from `seed`."""

    kind: Literal["motion"]
    size: Annotated[Whole, Field(ge=3, le=255)] = 25
    """Side of the square that a trajectory fits into, in pixels."""
    count: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    """How many kernels there are; every image has one of them."""
    seed: Seed = 0
    """Decides the trajectories."""


def _by_kind(default: str | None, **implied: str) -> Discriminator:
    """Choose a member of a union by its `kind`.

    Args:
        default: the kind where none is given.
        implied: the kind where none is given and this key is.
    """

    def kind(value: Any) -> Any:
        if not isinstance(value, dict):
            return getattr(value, "kind", None)
        found = (each for key, each in implied.items() if key in value)
        return value.get("kind", next(found, default))

    return Discriminator(kind)


def _level_or_range(value: Any) -> str:
    return "range" if isinstance(value, list | tuple) else "level"


Kernel = Annotated[
    Annotated[FileKernel, Tag("file")]
    | Annotated[GaussianKernel, Tag("gaussian")]
    | Annotated[UniformKernel, Tag("uniform")]
    | Annotated[DiskKernel, Tag("disk")]
    | Annotated[MotionKernel, Tag("motion")],
    _by_kind(None, file="file"),
]

Boundary = Literal["circular", "valid", "reflect"]


class Blur(Section):
    """`A x = k * x`, a true convolution with the given rule at the image's boundary."""

    kind: Literal["blur"] = "blur"
    kernel: Annotated[Kernel, Field(examples=[{"file": "kernels/motion.npy"}])]
    """The kernel k, or several, of which each image has one."""
    boundary: Boundary = "circular"
    """Outside of the image: `circular` continues it periodically, `reflect` mirrors it, `valid`
    keeps only pixels that need nothing from outside, so the measurement is smaller."""


class Identity(Section):
    """`A x = x`: denoising."""

    kind: Literal["identity"]


class RandomMask(Section):
    """Pixels are seen with probability `keep`, each by itself, with all of its colours."""

    kind: Literal["random"] = "random"
    keep: Annotated[
        Annotated[Share, Tag("level")] | Annotated[Shares, Tag("range")],
        Discriminator(_level_or_range),
        Field(examples=[0.5, [0.3, 0.7]]),
    ]
    """The probability that a pixel is seen: one, or [low, high], drawn for every image."""


class FileMask(Section):
    """Given masks: a picture, or `.npy` of shape (H, W), (N, H, W) or (N, C, H, W); 0 is unseen.

    Several: one per image.
    """

    kind: Literal["file"] = "file"
    file: Annotated[str, Field(examples=["masks/scratches.png"])]
    """Looked for beside the YAML file, in the current folder, then among the packaged files."""


Mask = Annotated[
    Annotated[RandomMask, Tag("random")] | Annotated[FileMask, Tag("file")],
    _by_kind("random", file="file"),
]


class Inpainting(Section):
    """`A x = m x`: only some pixels are seen, the others are 0 in the measurement."""

    kind: Literal["inpainting"]
    mask: Annotated[Mask, Field(examples=[{"keep": 0.5}])]
    """Which pixels are seen."""


class BicubicKernel(Section):
    """Keys' cubic, stretched by the factor: what is meant by bicubic downsampling."""

    kind: Literal["bicubic"] = "bicubic"


class BoxKernel(Section):
    """The mean of factor x factor pixels: what a coarser detector sees."""

    kind: Literal["box"]


DownsamplingKernel = Annotated[
    Annotated[BicubicKernel, Tag("bicubic")]
    | Annotated[BoxKernel, Tag("box")]
    | Annotated[GaussianKernel, Tag("gaussian")]
    | Annotated[FileKernel, Tag("file")],
    _by_kind(None, file="file"),
]


class Downsampling(Section):
    """`A x = (k * x)` at every `factor`-th pixel: super-resolution."""

    kind: Literal["downsampling"]
    factor: Annotated[Whole, Field(ge=2, le=4)] = 2
    """A measurement has so many times fewer rows and columns."""
    kernel: DownsamplingKernel = BicubicKernel()
    """The low-pass k before pixels are left out."""
    boundary: Literal["circular", "reflect"] = "circular"
    """Outside of the image: `circular` continues it periodically, `reflect` mirrors it."""


def _degrees(angles: tuple[float, float]) -> tuple[float, float]:
    first, last = angles
    if not first < last:
        raise refusal("must be written [first, last], in degrees", "for example [0, 180]")
    if last - first <= 6.3:
        begin, end = round(math.degrees(first), 2), round(math.degrees(last), 2)
        end = min(end, begin + 180)
        cause = f"must be in degrees, and span more than 6.3 (they span {last - first:.3g})"
        raise refusal(cause, f"if they are radians, give [{begin:g}, {end:g}]")
    if last - first > 180:
        cause = f"must span at most 180 degrees (they span {last - first:.4g})"
        remedy = f"give [{first:g}, {first + 180:g}]: parallel rays are the same after half a turn"
        raise refusal(cause, remedy)
    return angles


class CT(Section):
    """`A x` = line integrals of x along parallel rays: computed tomography.

    Divided by the longer side of the image, so that values are of the order of those of x. The
    angles are evenly spaced, the last one left out: sparse views are few of 180 degrees, a limited
    angle is less than that.
    """

    kind: Literal["ct"]
    views: Annotated[Whole, Field(ge=1, le=2000)] = 60
    """Angles from which is measured."""
    angles: Annotated[
        tuple[Number, Number],
        AfterValidator(_degrees),
        Field(examples=[[0, 180], [0, 120]]),
    ] = (0.0, 180.0)
    """The range of angles in degrees, [first, last]."""


class MRI(Section):
    """`A x = m F x`: magnetic resonance imaging with one coil, some columns of F x are sampled.

    For complex images (`images.mode: complex`); F is orthonormal.
    """

    kind: Literal["mri"]
    acceleration: Annotated[Number, Field(ge=1, le=1000)] = 4.0
    """Columns for each one that is sampled; 1 samples all."""
    centre: Annotated[Number, Field(ge=0, le=1)] = 0.08
    """Share of the columns, about frequency 0, that every mask samples: calibration region."""
    pattern: Literal["random", "equispaced"] = "random"
    """The other columns: at random places, or evenly spaced from a random one on."""


SimpleOperator = Annotated[
    Annotated[Blur, Tag("blur")]
    | Annotated[Identity, Tag("identity")]
    | Annotated[Inpainting, Tag("inpainting")]
    | Annotated[Downsampling, Tag("downsampling")],
    _by_kind("blur"),
]


def _several(operators: tuple[Any, ...]) -> tuple[Any, ...]:
    if not 2 <= len(operators) <= 4:
        raise refusal("must be two to four operators", "the first one is applied first")
    return operators


class Compose(Section):
    """`A x = A_n ... A_1 x`: several operators, the first one of the list applied first."""

    kind: Literal["compose"]
    operators: Annotated[
        tuple[SimpleOperator, ...],
        AfterValidator(_several),
        Field(
            examples=[[{"kernel": {"kind": "gaussian", "std": 1.6}}, {"kind": "downsampling"}]],
            json_schema_extra={"minItems": 2, "maxItems": 4},
        ),
    ]
    """Two to four operators; the first one is applied first."""


Operator = Annotated[
    Annotated[Blur, Tag("blur")]
    | Annotated[Identity, Tag("identity")]
    | Annotated[Inpainting, Tag("inpainting")]
    | Annotated[Downsampling, Tag("downsampling")]
    | Annotated[CT, Tag("ct")]
    | Annotated[MRI, Tag("mri")]
    | Annotated[Compose, Tag("compose")],
    _by_kind("blur"),
]
"""Of each kind there is a file in `data/physics/`, which says what the operator does."""


Sigma = Annotated[
    Annotated[Level, Tag("level")] | Annotated[Levels, Tag("range")],
    Discriminator(_level_or_range),
    Field(examples=[0.03, [0.01, 0.05]]),
]
PhotonGain = Annotated[
    Annotated[Gain, Tag("level")] | Annotated[Gains, Tag("range")],
    Discriminator(_level_or_range),
    Field(examples=[0.01, [0.005, 0.02]]),
]


class GaussianNoise(Section):
    """`y = A x + sigma n`; `sigma` in units of the image range [0, 1], one level or a range."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: Sigma
    """Standard deviation, or [low, high], drawn for every image."""


class PoissonNoise(Section):
    """`y = gain Poisson(A x / gain)`: 1 / gain photons make a white pixel."""

    kind: Literal["poisson"]
    gain: PhotonGain
    """What one photon adds, or [low, high], drawn for every image."""


class PoissonGaussianNoise(Section):
    """`y = gain Poisson(A x / gain) + sigma n`: photons, and the noise of the electronics."""

    kind: Literal["poisson_gaussian"]
    gain: PhotonGain
    """What one photon adds, or [low, high], drawn for every image."""
    sigma: Sigma
    """Standard deviation, or [low, high], drawn for every image."""


Noise = Annotated[
    Annotated[GaussianNoise, Tag("gaussian")]
    | Annotated[PoissonNoise, Tag("poisson")]
    | Annotated[PoissonGaussianNoise, Tag("poisson_gaussian")],
    _by_kind("gaussian"),
]
