"""What an entry carries of its training's log: few points of each curve, some kilobytes.

So that the curves of several teams can be drawn over each other without their runs. The loss, which
jumps from step to step, is the mean over the steps up to a point; other values are those at it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from challenge.configs.schema.section import Section
from challenge.data import reading
from challenge.submissions.layout import Run
from challenge.submissions.runs import log

POINTS = 100
"""Of a curve, at most."""
DIGITS = 5
"""Of a value."""
LONGEST = 10**12
"""Steps of a training, at most, and the size of a value: a figure must take them."""
LARGEST = 32_000
"""Bytes of the largest file that is read."""
NAMES = ("loss", "psnr", "ssim", "lr")
Name = Literal["loss", "psnr", "ssim", "lr"]
"""Loss of the training; PSNR in dB and SSIM on its `tune` part; learning rate."""


class Curve(Section):
    """Values over the steps of a training."""

    steps: Annotated[
        tuple[Annotated[int, Field(ge=0, le=LONGEST)], ...], Field(min_length=1, max_length=200)
    ]
    """Ascending."""
    values: Annotated[
        tuple[Annotated[float, Field(ge=-LONGEST, le=LONGEST, allow_inf_nan=False)], ...],
        Field(min_length=1, max_length=200),
    ]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.steps) != len(self.values) or list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps are not ascending, one for each value")
        return self


class Curves(Section):
    """Of one training."""

    format: Literal[1]
    curves: Annotated[dict[Name, Curve], Field(min_length=1)]
    """Those that were logged."""


def of(run: Run) -> Curves | None:
    """The curves of a run, or of an entry that was unpacked; None where nothing was logged."""
    if run.log.is_file():
        return from_log(run)
    if run.packed_curves.is_file():
        return parse(reading.bounded(run.packed_curves))
    return None


def from_log(run: Run) -> Curves | None:
    """The curves by the log of a run; None where it has none."""
    lines = [line for line in log.read(run) if isinstance(line, dict)]
    found: dict[Name, Curve] = {}
    for name in NAMES:
        # A run that was continued by hand may tell a step twice: the later line holds.
        values = {
            line["step"]: float(line[name])
            for line in lines
            if isinstance(line.get("step"), int) and line["step"] >= 0 and _finite(line.get(name))
        }
        if values:
            found[name] = _thinned(sorted(values.items()), mean=name == "loss")  # type: ignore[index]
    return Curves(format=1, curves=found) if found else None


def dump(curves: Curves) -> bytes:
    """The bytes of the file: the same curves give the same bytes."""
    return (json.dumps(curves.model_dump(mode="json"), separators=(",", ":")) + "\n").encode()


def parse(content: bytes) -> Curves:
    """Read the file.

    Raises:
        ValueError: it is not one; the text says where, in one line.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    try:
        return Curves.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:80]
        raise ValueError(f"`{key}`: {first['msg']}" if key else first["msg"]) from None


def _finite(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _thinned(points: Sequence[tuple[int, float]], *, mean: bool) -> Curve:
    """At most so many points, the first and the last among them."""
    count = min(len(points), POINTS)
    ends = [1 + round(k * (len(points) - 1) / max(count - 1, 1)) for k in range(count)]
    steps, values, begin = list[int](), list[float](), 0
    for end in ends:
        some = [value for _, value in points[begin:end]]
        value = math.fsum(some) / len(some) if mean else some[-1]
        steps.append(points[end - 1][0])
        values.append(float(f"{value:.{DIGITS}g}"))
        begin = end
    return Curve(steps=tuple(steps), values=tuple(values))
