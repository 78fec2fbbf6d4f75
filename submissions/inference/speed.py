"""How fast a machine is: a fixed mix of kernels, timed on a given number of CPU threads.

A team's laptop is not the machine that judges. Both time the same small computations, and their
ratios say how long an entry will take there (`forecast`). The kernels are what methods are made
of: convolutions, FFTs, passes over memory, and the interpreter, which start-up is made of.

A process of its own takes the times (`kernel_times`); here is what they are, and their file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from challenge.configs.errors import UserError
from challenge.data import atomic, reading
from challenge.submissions import machine

FORMAT = 1
"""Of the file and of the mix: another mix is another format, so that they are never compared."""
PATIENCE = 600
"""Seconds after which a measurement counts as failed."""

CONVOLUTIONS = ("conv32", "conv64")
"""3x3 in float32, with 32 and 64 channels."""
KERNELS = (*CONVOLUTIONS, "fft", "elementwise", "python")
BF16 = {f"{name}_bf16": name for name in CONVOLUTIONS}
"""The same in bfloat16 and channels last, timed where the processor has it."""
LARGEST_SPREAD = 3.0
"""A kernel whose tenths lie further apart was disturbed for long: its median is no speed."""
CALIBRATE = "measure again with `challenge doctor --calibrate`"

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call of a kernel: the median, the lowest and the highest tenth."""

    __pydantic_config__: ClassVar = STRICT

    seconds: Positive
    low: Positive
    high: Positive

    def __post_init__(self) -> None:
        if not self.low <= self.seconds <= self.high:
            raise ValueError("is not between its low and its high")

    @property
    def spread(self) -> float:
        """From the lowest to the highest tenth, as a share of the median."""
        return (self.high - self.low) / self.seconds


@dataclass(frozen=True)
class Speed:
    """What one machine takes for every kernel, on so many threads."""

    __pydantic_config__: ClassVar = STRICT

    threads: Annotated[int, Field(ge=1)]
    machine: dict[str, Any]
    """Processor, cores, memory, system and Python, as `machine.describe` says them."""
    torch: str
    measured: str
    """When, ISO 8601 in UTC."""
    kernels: dict[str, Timing]

    def __post_init__(self) -> None:
        if missing := set(KERNELS) - set(self.kernels):
            raise ValueError(f"has no time of {', '.join(sorted(missing))}")
        if set(self.kernels) not in (set(KERNELS), {*KERNELS, *BF16}):
            raise ValueError("has times of other kernels")

    @property
    def bf16(self) -> bool:
        """Whether the processor computes in bfloat16, as torch says."""
        return set(BF16) <= set(self.kernels)

    @property
    def worst(self) -> str:
        """The kernel that spreads most."""
        return max(self.kernels, key=lambda name: self.kernels[name].spread)

    @property
    def usable(self) -> bool:
        """Whether other programs left enough of the machine to the measurement."""
        return self.kernels[self.worst].spread <= LARGEST_SPREAD

    @property
    def is_here(self) -> bool:
        """Whether it was measured on this machine, with this torch and this Python."""
        here = machine.describe()
        same = all(self.machine.get(key) == here[key] for key in ("processor", "cores", "python"))
        return same and self.torch == machine.versions()["torch"]


@dataclass(frozen=True)
class _File:
    """A file of speeds, one for each number of threads."""

    __pydantic_config__: ClassVar = STRICT

    format: int
    speeds: list[Speed]

    def __post_init__(self) -> None:
        if len({speed.threads for speed in self.speeds}) < len(self.speeds):
            raise ValueError("has two speeds of as many threads")


_FILE = TypeAdapter(_File)
_SPEED = TypeAdapter(Speed)


def read(path: Path, remedy: str = CALIBRATE) -> tuple[Speed, ...]:
    """The speeds of a file, one for each number of threads; none where there is no file.

    Raises:
        UserError: the file is damaged, or of another format.
    """
    if not path.exists():
        return ()
    try:
        text = reading.bounded(path).decode()
        found = json.loads(text)["format"]
        if found == FORMAT:
            return tuple(_FILE.validate_json(text).speeds)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError.of(path, "is damaged", remedy) from None
    cause = f"has format `{found}`, this toolkit reads format `{FORMAT}`"
    raise UserError.of(path, cause, remedy)


def find(path: Path, threads: int, remedy: str = CALIBRATE) -> Speed | None:
    """The speed that a file has for a number of threads; None where it has none."""
    return next((speed for speed in read(path, remedy) if speed.threads == threads), None)


def store(path: Path, speed: Speed) -> bool:
    """Add what was just measured on this machine to a file; False: nothing, it is not usable.

    It replaces what the file had for these threads, and whatever is of another machine, is not
    usable or cannot be read.
    """
    if not speed.usable:
        return False
    try:
        here = [each for each in read(path) if each.is_here and each.usable]
        kept = [each for each in here if each.threads != speed.threads]
    except UserError:
        kept = []
    speeds = sorted([*kept, speed], key=lambda each: each.threads)
    atomic.write_json(path, {"format": FORMAT, "speeds": to_json(speeds)})
    return True


def to_json(speeds: Iterable[Speed]) -> list[dict[str, Any]]:
    """Speeds as a program reads them, and as they stand in a file."""
    return [asdict(speed) for speed in speeds]


def from_json(value: Any) -> Speed:
    """One speed, of those that `to_json` gives; raises ValueError where it is none."""
    return _SPEED.validate_json(json.dumps(value))


def measure(threads: int) -> Speed:
    """Time every kernel on `threads` threads of this machine, in a process of its own.

    Raises:
        RuntimeError: the process failed; the text has what it said.
    """
    answer, failure = _child(str(threads), threads=threads)
    if failure:
        raise RuntimeError(f"the measurement of this machine's speed failed: {failure}")
    return Speed(
        threads=threads,
        machine=machine.describe(),
        torch=machine.versions()["torch"],
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        kernels={name: Timing(**timing) for name, timing in answer["kernels"].items()},
    )


def has_bf16() -> tuple[bool, str]:
    """Whether torch computes in bfloat16 on this processor; and why that is not known, if so."""
    answer, failure = _child(threads=1)
    return bool(answer.get("bf16")), failure


def _child(*arguments: str, threads: int) -> tuple[dict[str, Any], str]:
    """What the process answered, and otherwise why it did not, in one line."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"CUDA_VISIBLE_DEVICES": ""}
    program = "challenge.submissions.inference.kernel_times"
    command = [sys.executable, "-I", "-m", program, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return {}, f"no answer after {PATIENCE} s"
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer, ""
    said = done.stderr.strip().splitlines()
    return {}, said[-1] if said else f"exit code {done.returncode}"
