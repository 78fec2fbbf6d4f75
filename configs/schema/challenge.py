"""The typed schema of the two kinds of YAML file: a challenge, and an entry's config.

Every model is frozen and refuses unknown keys; every default stands here and nowhere else.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from challenge.configs.schema.values import (
    Level,
    Levels,
    Moment,
    Name,
    Number,
    Seed,
    Whole,
    refusal,
)

__all__ = ["ChallengeConfig", "EntryConfig", "Name", "Section", "TrainConfig"]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


# --- images -------------------------------------------------------------------------------------


class BuiltinImages(Section):
    """Practice images that need no network.

    `train` counts procedural dead-leaves images; val and test are crops of scikit-image's
    packaged photographs, split by source photograph.
    """

    source: Literal["builtin"]
    mode: Literal["colour", "grey"] = "colour"
    size: Annotated[Whole, Field(ge=32, le=2048)] = 256
    train: Annotated[Whole, Field(ge=4)] = 120
    val: Annotated[Whole, Field(ge=1)] = 6
    test: Annotated[Whole, Field(ge=1)] = 12


class FolderPaths(Section):
    """Folders of their own for the splits; a split without one is taken out of `train`."""

    train: Annotated[str, Field(examples=["photographs/train"])]
    val: str | None = None
    test: str | None = None


class FolderImages(Section):
    """The user's own photographs, searched with all sub-folders.

    `val` and `test` count photographs that are drawn (seeded) for these splits; all others
    train. A split that has a folder of its own in `path` uses at most that many of it. Val and
    test photographs are cropped about the centre to at most `size` pixels a side.
    """

    source: Literal["folder"]
    path: Annotated[
        Annotated[str, Tag("folder")] | Annotated[FolderPaths, Tag("folders")],
        Discriminator(lambda value: "folder" if isinstance(value, str) else "folders"),
        Field(examples=["photographs"]),
    ]
    mode: Literal["colour", "grey"] = "colour"
    size: Annotated[Whole, Field(ge=32, le=4096)] = 256
    val: Annotated[Whole, Field(ge=1)] = 10
    test: Annotated[Whole, Field(ge=1)] = 20


Images = Annotated[BuiltinImages | FolderImages, Field(discriminator="source")]


# --- operator -----------------------------------------------------------------------------------


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


# --- the contest --------------------------------------------------------------------------------


class Limits(Section):
    weights_mb: Annotated[Number, Field(gt=0)] = 100
    """All payload of an entry together, in units of 1,000,000 bytes."""
    minutes: Annotated[Number, Field(gt=0)] = 20
    """Wall clock for the whole test set, imports included."""
    threads: Annotated[Whole, Field(ge=1, le=256)] = 2
    memory_gb: Annotated[Number, Field(gt=0)] = 8
    """Resident memory of the inference process with its children, in units of 1e9 bytes."""


class Rules(Section):
    pretrained: Literal["allowed", "forbidden"] = "allowed"
    external_data: Literal["allowed", "forbidden"] = "allowed"
    entries_per_day: Annotated[Whole, Field(ge=1)] = 5
    deadline: Moment | None = None
    counts: Literal["latest", "best"] = "latest"
    packages: tuple[str, ...] = ()
    """Installed packages that entries may use beside the toolkit's own dependencies; names as
    `pip list` shows them."""

    @field_validator("packages")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", name):
                raise refusal(
                    "must be names of packages", "as `pip list` shows them, without versions"
                )
        return names


class Metric(Section):
    """PSNR and SSIM as `challenge.submissions.metrics` defines them."""

    crop: Annotated[Whole, Field(ge=0)] | None = None
    """Pixels left out at every side; null: half the kernel for a valid boundary, else 0."""


class ChallengeConfig(Section):
    """A challenge: a forward problem, images, splits, limits, rules, metric."""

    name: Annotated[Name, Field(examples=["deblur"])]
    images: Annotated[Images, Field(examples=[{"source": "builtin"}])]
    operator: Annotated[Blur, Field(examples=[{"kernel": {"kind": "gaussian", "std": 1.6}}])]
    noise: Annotated[GaussianNoise, Field(examples=[{"sigma": 0.03}])]
    limits: Limits = Limits()
    rules: Rules = Rules()
    metric: Metric = Metric()
    seed: Seed = 0
    """Public: the splits and the noise of train and val follow from it, that of test does not."""


# --- an entry -----------------------------------------------------------------------------------


class Uses(Section):
    """What the team declares about its method; `challenge check` holds it against the rules."""

    pretrained: bool = False
    external_data: bool = False


class Augment(Section):
    """How training patches differ from the photographs they are taken from."""

    flips: bool = True
    """Mirror a patch with probability 1/2."""
    rotations: bool = True
    """Turn a patch by a multiple of 90 degrees, each as likely."""
    scale: Annotated[Number, Field(ge=0.25, le=1)] = 1.0
    """Shrink a patch by a factor drawn uniformly from [scale, 1]; 1: never."""


Loss = Literal["mse", "l1", "charbonnier", "huber", "ssim", "cross_entropy"]
Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "step", "cosine", "warmup_cosine", "plateau", "one_cycle"]

READ_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "nesterov": ("optimiser", ("sgd",)),
    "warm_up": ("schedule", ("warmup_cosine", "one_cycle")),
    "drop": ("schedule", ("step", "plateau")),
    "drops": ("schedule", ("step",)),
    "wait": ("schedule", ("plateau",)),
}
"""Keys of `train:` that matter to some optimisers or schedules only; elsewhere they are refused."""


class TrainConfig(Section):
    """How a method learns. A method names the keys it reads (`Method.reads`), others fail."""

    steps: Annotated[Whole, Field(ge=1)] | None = None
    """Optimiser steps; give this or `minutes`."""
    minutes: Annotated[Number, Field(gt=0)] | None = None
    """Turned into steps once, at step 50, by the time that steps took."""
    batch: Annotated[Whole, Field(ge=1)] = 8
    """Patches of a step, over all processes together."""
    patch: Annotated[Whole, Field(ge=16)] = 96
    """Side of the random square patches in pixels."""
    loss: Loss = "mse"
    optimiser: Optimiser = "adam"
    lr: Annotated[Number, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """Of sgd; Adam's beta_1."""
    nesterov: bool = False
    """Look ahead along the momentum (sgd)."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """Of weights, not of biases or normalisation; adamw's is decoupled from the gradient."""
    clip: Annotated[Number, Field(gt=0)] | None = 2.0
    """Gradients longer than this many times their running mean norm are shortened; null: none."""
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the running mean of the weights that is evaluated and kept; 0: none."""
    schedule: Schedule = "warmup_cosine"
    warm_up: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Share of the steps in which the learning rate rises; null: 50 steps (warmup_cosine), 0.3
    (one_cycle)."""
    drop: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    """Factor by which the learning rate falls (step, plateau)."""
    drops: Annotated[Whole, Field(ge=1, le=20)] = 3
    """How often it falls, at equal distances (step)."""
    wait: Annotated[Whole, Field(ge=1)] = 3
    """Evaluations without a better PSNR before it falls (plateau)."""
    patience: Annotated[Whole, Field(ge=1)] | None = None
    """Evaluations without a better PSNR before training ends early; null: never."""
    augment: Augment = Augment()
    tune: Annotated[Whole, Field(ge=1)] = 6
    """Training images held out for checkpoints and tuning."""
    evaluate: Annotated[Whole, Field(ge=1)] = 500
    """Steps between two evaluations on the tune part, each followed by a checkpoint."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Of training; `auto` is bf16 where the hardware has it, fp16 is for GPUs."""

    @field_validator("minutes")
    @classmethod
    def _one_budget(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("steps") is not None:
            raise refusal(
                "cannot stand beside `train.steps`",
                "give one of the two; `train.minutes=null` on the command line takes it out",
            )
        return value

    @field_validator(*READ_BY)
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """A setting that nothing reads costs an afternoon: refuse it."""
        name = str(info.field_name)
        if name == "nesterov" and value and not info.data.get("momentum", 1):
            raise refusal("needs a momentum to look ahead along", "give `train.momentum=0.9`")
        chooser, readers = READ_BY[name]
        chosen = info.data.get(chooser)
        if chosen is not None and chosen not in readers and value != cls.model_fields[name].default:
            raise refusal(
                f"is not read by `train.{chooser}: {chosen}`",
                f"take it out, or choose {' or '.join(f'`{each}`' for each in readers)}",
            )
        return value


class EntryConfig(Section):
    """An entry's config. `method` stays raw here; `challenge.methods` validates it."""

    challenge: Annotated[str, Field(examples=["deblur"])]
    name: Name
    """The run's name; the file's stem where the file gives none."""
    method: Annotated[dict[str, Any], Field(examples=[{"name": "tv"}])]
    train: TrainConfig = TrainConfig()
    uses: Uses = Uses()
    seed: Seed = 0
