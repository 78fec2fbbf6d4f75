"""How long an entry will take on the judge's machine, from what it took here.

For every kernel k of `speed`, r_k = judge_k / local_k. An image takes r times as long there, with
r the geometric mean of the r_k: nobody knows how much of a method is convolution and how much is
FFT, but its own r lies between the smallest and the largest r_k. Both are widened by the spreads
of the measurements. Start-up is the interpreter's work and takes that kernel's ratio.

Images differ, and those to come are not those that were measured: the mean of N of them lies
within mean +- t s sqrt(1/n + 1/N) of n measured ones, with s their standard deviation and t
Student's 97.5 % quantile.

bfloat16: a method at `precision: auto` computes in it where the processor has it. Where at least
one machine does, the convolutions count a second time, at the precision that `auto` has on each
machine; so where only one of them has it, the ratio of float32 to bfloat16 is in the mean and in
the interval. Nothing is known of the method's own precision.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from challenge.configs.errors import UserError
from challenge.data import reading
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.inference import speed
from challenge.submissions.inference.speed import BF16, KERNELS, Speed, Timing
from challenge.submissions.layout import Run
from challenge.submissions.text import one_line

FRESH = "take it from a fresh kit of your organiser, or remove it"

_ONE_IMAGE = 2.0
"""A single image says nothing of the others: half of it to twice as much."""


@dataclass(frozen=True)
class Forecast:
    """Seconds that the planned images will take on the judge's machine, start-up included."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """Time on the judge's machine over time here."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Machines:
    """The speeds of this machine and of the judge's, on the same number of threads."""

    local: Speed
    judge: Speed


def find_machines(
    workspace: Workspace, threads: int, notice: Callable[[str], None]
) -> Machines | None:
    """Both speeds, where the judge's is known; this machine's is measured and stored if need be.

    In the organiser's workspace the judge's is not known: it is this machine's own. A measurement
    that other programs disturbed says nothing of the judge's time, and is not stored.

    Args:
        notice: called with one line, that a measurement begins, which takes some seconds, or that
            it says nothing.

    Raises:
        UserError: a file of speeds is damaged or of another format.
    """
    judge = speed.find(layout.judge_speed(workspace), threads, FRESH)
    if judge is None or not judge.usable:
        return None
    path = layout.speed(workspace)
    local = speed.find(path, threads)
    if local is None or not local.is_here or not local.usable:
        notice(f"measuring this machine's speed on {counted(threads)} once, about 5 s")
        local = speed.measure(threads)
        if not speed.store(path, local):
            notice(
                "other programs disturb this machine: no forecast of the time on the judge's; "
                f"close them and {speed.CALIBRATE}"
            )
            return None
    return Machines(local, judge)


def forecast(
    start_up: float, seconds: Sequence[float], planned: int, local: Speed, judge: Speed
) -> Forecast:
    """Seconds on the judge's machine.

    Args:
        start_up: seconds from spawn to the method being ready, here.
        seconds: of each image that was reconstructed here, at least one.
        planned: number of images that the judge will hand over.
        local, judge: the speeds of the machines, on the same number of threads.
    """
    start, image = ratio(local, judge, ("python",)), image_ratio(local, judge)
    mean, low, high = _mean(seconds, planned)
    return Forecast(
        expected=start_up * start.expected + planned * mean * image.expected,
        low=start_up * start.low + planned * low * image.low,
        high=start_up * start.high + planned * high * image.high,
    )


def measured(run: Run) -> tuple[float, list[float]] | None:
    """Start-up and seconds of each image of val, as `infer` found them with a run's weights.

    None where there was no `infer` that went well, or the run is newer than it.
    """
    record = _inferred(run)
    try:
        seconds = [float(each) for each in record["seconds"].values()]
        good = record["outcome"] == "ok" and seconds
        return (float(record["start_up"]), seconds) if good else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # a hint is no reason not to pack


def failure(run: Run) -> str:
    """How `infer` failed with a run's weights, `timeout: CAUSE`; "" where it did not."""
    record = _inferred(run)
    outcome, cause = (one_line(record.get(key, ""), 300) for key in ("outcome", "cause"))
    return "" if outcome in ("", "ok") else f"{outcome}: {cause}"


def _inferred(run: Run) -> dict[str, Any]:
    """What `infer` said of val; empty where it did not, or the run is newer."""
    path = run.inference("val")
    sources = [run.config, run.weights, *run.plugin.rglob("*.py")]
    try:
        when = path.stat().st_mtime_ns
        if any(source.stat().st_mtime_ns > when for source in sources):
            return {}
        record = json.loads(reading.bounded(path))
    except (OSError, ValueError, RecursionError, UserError):
        return {}
    return record if isinstance(record, dict) else {}


def image_ratio(local: Speed, judge: Speed) -> Ratio:
    """Of the time of an image: over all kernels but the interpreter."""
    names = [name for name in KERNELS if name != "python"]
    if local.bf16 or judge.bf16:
        names += BF16
    return ratio(local, judge, names)


def ratio(local: Speed, judge: Speed, names: Sequence[str]) -> Ratio:
    """Over some kernels: their geometric mean; from the lowest to the highest possible."""
    pairs = [(_timing(judge, name), _timing(local, name)) for name in names]
    low = min(there.low / here.high for there, here in pairs)
    high = max(there.high / here.low for there, here in pairs)
    mean = statistics.geometric_mean([there.seconds / here.seconds for there, here in pairs])
    # Rounding alone could take the mean of equal ratios out of their interval.
    return Ratio(min(max(mean, low), high), low, high)


def _timing(machine: Speed, name: str) -> Timing:
    """The time of a kernel; in float32 where the machine has no bfloat16, as `auto` does."""
    return machine.kernels.get(name) or machine.kernels[BF16[name]]


def _mean(seconds: Sequence[float], planned: int) -> tuple[float, float, float]:
    """The mean of the images to come, as expected, at least, at most."""
    mean, count = statistics.fmean(seconds), len(seconds)
    if count == 1:
        return mean, mean / _ONE_IMAGE, mean * _ONE_IMAGE
    from scipy.special import stdtrit

    quantile = float(stdtrit(count - 1, 0.975))
    margin = quantile * statistics.stdev(seconds) * math.sqrt(1 / count + 1 / planned)
    return mean, max(0.0, mean - margin), mean + margin


def counted(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'s' * (threads != 1)}"
