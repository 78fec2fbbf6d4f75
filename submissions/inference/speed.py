"""How fast a machine is: a fixed mix of kernels, timed on a given number of CPU threads.

A team's laptop is not the machine that judges. Both time the same small computations, and their
ratios say how long an entry will take there (`forecast`). The kernels are what methods are made
of: convolutions, FFTs, passes over memory, and the interpreter, which start-up is made of.

    python -I -m challenge.submissions.inference.speed THREADS  -> times, one JSON object
    python -I -m challenge.submissions.inference.speed          -> what torch says of this CPU

Other programs run on a laptop too. So the kernels take turns over many rounds, each kernel's
median counts, and its lowest and highest tenth are stated as its spread.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.submissions import machine

FORMAT = 1
"""Of the file and of the mix: another mix is another format, so that they are never compared."""
SECONDS = 2.5
"""Seconds of measuring, after the imports and the first calls."""
SAMPLE = 0.01
"""Seconds of one sample: a kernel that is faster is called several times."""
ROUNDS = 5
"""Samples of each kernel at least, on a machine however slow."""
PATIENCE = 600
"""Seconds after which a measurement counts as failed."""

CONVOLUTIONS = ("conv32", "conv64")
"""3x3 in float32, with 32 and 64 channels."""
KERNELS = (*CONVOLUTIONS, "fft", "elementwise", "python")
BF16 = {f"{name}_bf16": name for name in CONVOLUTIONS}
"""The same in bfloat16 and channels last, timed where the processor has it."""
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


def read(path: Path, remedy: str = CALIBRATE) -> tuple[Speed, ...]:
    """The speeds of a file, one for each number of threads; none where there is no file.

    Raises:
        UserError: the file is damaged, or of another format.
    """
    if not path.exists():
        return ()
    try:
        text = path.read_text(encoding="utf-8")
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


def store(path: Path, speed: Speed) -> None:
    """Add what was just measured on this machine to a file.

    It replaces what the file had for these threads, and whatever is of another machine or cannot
    be read: both are of no use here any more.
    """
    try:
        kept = [each for each in read(path) if each.is_here and each.threads != speed.threads]
    except UserError:
        kept = []
    speeds = sorted([*kept, speed], key=lambda each: each.threads)
    atomic.write_json(path, {"format": FORMAT, "speeds": to_json(speeds)})


def to_json(speeds: Iterable[Speed]) -> list[dict[str, Any]]:
    """Speeds as a program reads them, and as they stand in a file."""
    return [asdict(speed) for speed in speeds]


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
    command = [sys.executable, "-I", "-m", "challenge.submissions.inference.speed", *arguments]
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


def _timings(threads: int) -> dict[str, dict[str, float]]:
    """Seconds of every kernel, measured in this process."""
    import torch

    from challenge.methods.training.precision import cpu_has_bf16
    from challenge.submissions.machine import keep_memory

    keep_memory()
    torch.set_num_threads(threads)
    with torch.no_grad():
        kernels = dict(_kernels(bf16=cpu_has_bf16()))
        calls = {name: _calls(kernel) for name, kernel in kernels.items()}
        samples: dict[str, list[float]] = {name: [] for name in kernels}
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end or len(samples["python"]) < ROUNDS:
            for name, kernel in kernels.items():
                samples[name].append(_time(kernel, calls[name]))
    return {name: _summary(taken) for name, taken in samples.items()}


def _calls(kernel: Callable[[], object]) -> int:
    """Calls of a kernel that fill a sample, by the fastest of its first calls."""
    return max(1, round(SAMPLE / min(_time(kernel, 1) for _ in range(5))))


def _time(kernel: Callable[[], object], calls: int) -> float:
    """Seconds of one call, over several."""
    began = time.perf_counter()
    for _ in range(calls):
        kernel()
    return (time.perf_counter() - began) / calls


def _summary(samples: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    return {"seconds": statistics.median(samples), "low": tenths[0], "high": tenths[-1]}


def _kernels(*, bf16: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """The mix of format 1; whoever changes a kernel changes `FORMAT`."""
    import torch
    from torch.nn.functional import conv2d

    random = torch.Generator().manual_seed(0)
    for name, channels, side in (("conv32", 32, 128), ("conv64", 64, 64)):
        x = torch.randn(1, channels, side, side, generator=random)
        weight = torch.randn(channels, channels, 3, 3, generator=random)
        yield name, partial(conv2d, x, weight, padding=1)
        if bf16:
            x, weight = (
                each.to(torch.bfloat16, memory_format=torch.channels_last) for each in (x, weight)
            )
            yield f"{name}_bf16", partial(conv2d, x, weight, padding=1)

    image = torch.randn(3, 256, 256, generator=random)

    def transform() -> object:
        """To and fro, as a circular deconvolution, once from real and once from complex values."""
        half = torch.fft.irfft2(torch.fft.rfft2(image), s=image.shape[-2:])
        return half, torch.fft.ifft2(torch.fft.fft2(image))

    yield "fft", transform
    values = torch.randn(2**20, generator=random)
    yield "elementwise", lambda: values.sign() * (values.abs() - 0.1).clamp_min(0)
    yield "python", _interpreter(_module())


def _module() -> bytes:
    """Code as an import reads it from a cache: twenty small classes."""
    import marshal

    text = "".join(
        f"class C{i}:\n"
        f"    '''Number {i}.'''\n"
        f"    x: int = {i}\n"
        f"    def f(self, a, b={i}):\n"
        f"        return [a * k + b for k in range({i})]\n"
        f"    def g(self):\n"
        f"        return {{'a{i}': self.f, 'b': ({i}, 'c')}}\n"
        for i in range(20)
    )
    return marshal.dumps(compile(text, "<speed>", "exec"))


def _interpreter(code: bytes) -> Callable[[], object]:
    """What start-up is made of: code is loaded and run, classes are made, dictionaries filled."""
    import marshal

    def run() -> object:
        names: dict[str, Any] = {}
        exec(marshal.loads(code), names)
        for i in range(20):
            made = names[f"C{i}"]()
            made.f(i)
            made.g()
        counted = {str(i): i * i for i in range(3000)}
        return sum(counted.values())

    return run


def main() -> None:
    if len(sys.argv) > 1:
        answer: Mapping[str, Any] = {"kernels": _timings(int(sys.argv[1]))}
    else:
        from challenge.methods.training.precision import cpu_has_bf16

        answer = {"bf16": cpu_has_bf16()}
    print(json.dumps(answer, allow_nan=False))


if __name__ == "__main__":
    main()
