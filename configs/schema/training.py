"""`train:` of an entry's config: how a method learns, with every default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Number, Whole, refusal


class Augment(Section):
    """How training patches differ from the photographs they are taken from."""

    flips: bool = True
    """Mirror a patch with probability 1/2."""
    rotations: bool = True
    """Turn a patch by a multiple of 90 degrees, each as likely."""
    scale: Annotated[Number, Field(ge=0.25, le=1)] = 1.0
    """Shrink a patch by a factor drawn uniformly from [scale, 1]; 1: never."""


Loss = Literal["mse", "l1", "charbonnier", "huber", "ssim", "cross_entropy"]
Optimiser = Literal["sgd", "adam", "adamw", "muon"]
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
    """What is minimised: `mse` squared errors, `l1` absolute errors, `charbonnier` a smooth
    absolute error, `huber` squared where small and absolute where large, `ssim` 1 - SSIM,
    `cross_entropy` that of a categorical head."""
    optimiser: Optimiser = "adam"
    """`sgd` with momentum, `adam`, `adamw`, whose weight decay is decoupled, or `muon`, which moves
    the kernels of layers along orthogonal matrices, and all else as `adamw` does."""
    lr: Annotated[Number, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """Of sgd and muon; Adam's beta_1."""
    nesterov: bool = False
    """Look ahead along the momentum (sgd)."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """Of weights, not of biases or normalisation; adamw's is decoupled from the gradient."""
    clip: Annotated[Number, Field(gt=0)] | None = 2.0
    """Gradients longer than this many times their running mean norm are shortened; null: none."""
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the running mean of the weights that is evaluated and kept; 0: none."""
    schedule: Schedule = "warmup_cosine"
    """How `lr` changes over the steps: `constant` not; `step` falls `drops` times; `cosine` falls
    to 0; `warmup_cosine` rises before; `plateau` falls when the PSNR stays; `one_cycle` rises and
    falls."""
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
