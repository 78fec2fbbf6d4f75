"""`operator:` and `noise:` of a challenge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Level, Levels, Number, Seed, Whole


class FileKernel(Section):
    """Kernels stored in a file: `.npy`, `.npz`, `.mat` (v7.3 too). Several: one per image."""

    kind: Literal["file"] = "file"
    file: Annotated[str, Field(examples=["kernels/motion.npy"])]
    pick: Annotated[Whole, Field(ge=0)] | None = None
    """Use only the kernel with this index."""


class GaussianKernel(Section):
    kind: Literal["gaussian"]
    std: Annotated[Number, Field(gt=0, le=50, examples=[1.6])]
    """Standard deviation in pixels."""


class UniformKernel(Section):
    kind: Literal["uniform"]
    size: Annotated[Whole, Field(ge=1, le=255, examples=[9])]
    """Side of the square in pixels."""


class DiskKernel(Section):
    kind: Literal["disk"]
    radius: Annotated[Number, Field(gt=0, le=127, examples=[3.5])]
    """Radius in pixels (defocus)."""


class MotionKernel(Section):
    """Random camera shake: smooth trajectories, drawn from `seed`."""

    kind: Literal["motion"]
    size: Annotated[Whole, Field(ge=3, le=255)] = 25
    count: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    seed: Seed = 0


def _kernel_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return value.get("kind", "file" if "file" in value else None)
    return getattr(value, "kind", None)


Kernel = Annotated[
    Annotated[FileKernel, Tag("file")]
    | Annotated[GaussianKernel, Tag("gaussian")]
    | Annotated[UniformKernel, Tag("uniform")]
    | Annotated[DiskKernel, Tag("disk")]
    | Annotated[MotionKernel, Tag("motion")],
    Discriminator(_kernel_kind),
]

Boundary = Literal["circular", "valid", "reflect"]


class Blur(Section):
    """`y = k * x + n`, a true convolution with the given rule at the image's boundary."""

    kind: Literal["blur"] = "blur"
    kernel: Annotated[Kernel, Field(examples=[{"file": "kernels/motion.npy"}])]
    boundary: Boundary = "circular"


class GaussianNoise(Section):
    """White Gaussian noise; `sigma` in units of the image range [0, 1], one level or a range."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[
        Annotated[Level, Tag("level")] | Annotated[Levels, Tag("range")],
        Discriminator(lambda value: "range" if isinstance(value, list | tuple) else "level"),
        Field(examples=[0.03, [0.01, 0.05]]),
    ]

    @property
    def levels(self) -> tuple[float, float]:
        """The lowest and the highest noise level."""
        return self.sigma if isinstance(self.sigma, tuple) else (self.sigma, self.sigma)
