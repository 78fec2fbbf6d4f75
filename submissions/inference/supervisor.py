"""The judge's supervisor: it hands one measurement at a time to a process and takes the answer.

It never imports torch or a team's code. Time is its own clock's; limits are the organiser's.
The same code serves a team's dry run and the organiser's verdict.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema.challenge import Limits
from challenge.data import atomic
from challenge.data.physics import measurements
from challenge.data.physics.measurements import Measurement
from challenge.submissions import scratch
from challenge.submissions.inference import loading
from challenge.submissions.inference.dialogue import BEFORE, Dialogue, Failed
from challenge.submissions.inference.messages import Channel
from challenge.submissions.inference.output import Output
from challenge.submissions.jail import cgroup, processes, spawn
from challenge.submissions.jail.readable import readable
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.jail.watch import Watch
from challenge.submissions.outcomes import SLOWER, Outcome
from challenge.submissions.scoring import calibration

RUNNER = Path(__file__).parent / "runner.py"
"""The program that runs an entry."""
REPEAT_GRACE, REPEAT_FACTOR = 10.0, 10
"""The first image, once more at the end, has so many seconds, and so many times those it took."""
SAME = 1e-4
"""Largest difference between two reconstructions of one measurement."""


class JudgeFault(RuntimeError):
    """A fault of ours or of this machine; it is never reported as the team's."""


@dataclass(frozen=True)
class Step:
    """What is reported after each reconstruction."""

    id: str
    seconds: float
    done: int
    total: int
    projected: float
    """Seconds that the planned images will take, start-up included, at the pace so far."""


@dataclass(frozen=True)
class Inference:
    """What came of running an entry over a set of measurements."""

    outcome: Outcome
    cause: str
    """Why it is not `ok`, in one line."""
    seconds: dict[str, float]
    """Per image, in order: from handing over the measurement to the reconstruction."""
    start_up: float
    """Seconds from spawn to the method being ready."""
    total: float
    """Seconds from spawn to the last reconstruction."""
    cpu: float
    """Processor seconds of the process with its children."""
    memory: int
    """Peak resident bytes of the process with its children."""
    log: str
    """What the entry printed, shortened and harmless."""
    broken: tuple[str, ...] = ()
    """Rules of the method contract that it breaks, where that was asked for."""


@dataclass
class _Clock:
    """What is measured while an entry runs."""

    started: float
    seconds: dict[str, float]
    start_up: float = 0.0
    total: float | None = None

    def since_start(self) -> float:
        return time.monotonic() - self.started


def infer(
    entry: Path,
    sources: Sequence[Path],
    output: Path,
    limits: Limits,
    jail: Jail,
    *,
    planned: int | None = None,
    progress: Callable[[Step], None] | None = None,
    contract: dict[str, Any] | None = None,
) -> Inference:
    """Reconstruct measurements with an entry, in a jailed process, within the limits.

    At the end the first image is handed over once more, off the clock: a method that depends on
    what it saw before, or on chance, is `nondeterministic`.

    Args:
        entry: the unpacked entry, read by the process.
        sources: stored measurements, `.npz`, handed over one by one in this order.
        output: folder for the reconstructions, `<id>.npy`, float32 of shape (C, H, W), and for
            their standard deviations, `deviation/<id>.npy`, where the method gives them.
        limits: wall clock over all images, threads, memory.
        jail: how far the process is shut in.
        planned: number of images that the limit is meant for; that of `sources` by default.
        progress: called after every image.
        contract: arguments of `contract_test.toy_problem`, on which the method contract is
            tested as well, afterwards.

    Raises:
        JudgeFault: our own part failed, so nothing can be said about the entry.
        UserError: a measurement is missing or damaged, or the disk is full.
    """
    output.mkdir(parents=True, exist_ok=True)
    loading.compile_packages()
    # Found out here, and not on the clock: an entry's time begins with its own process.
    readable(jail.permitted)
    outcome: Outcome = "ok"
    cause = ""
    broken: tuple[str, ...] = ()
    with (
        scratch.folder("judge") as folder,
        processes.as_subreaper(),
        cgroup.group() as group,
    ):
        before = processes.children()
        clock = _Clock(time.monotonic(), {})
        arguments = [str(entry.resolve()), str(limits.threads)]
        process = spawn.spawn(jail, folder, entry, limits, arguments, group)
        tree = processes.Tree(process, before, group)
        into, out, errors = spawn.pipes(process)
        log, channel = Output(errors), Channel(into, out)
        watch = Watch(
            tree, process, limits.memory_gb * 1e9, folder / "scratch", spawn.QUOTA, channel.exited
        )
        deadline = clock.started + limits.minutes * 60
        dialogue = Dialogue(process, channel, watch, limits, deadline, jail.level)
        try:
            dialogue.start()
            clock.start_up = clock.since_start()
            _reconstruct(dialogue, clock, sources, output, planned or len(sources), progress)
            dialogue.check_memory()
            _first_once_more(dialogue, clock, sources, output)
            if contract is not None:
                broken = _contract(dialogue, contract)
        except Failed as failure:
            outcome, cause = failure.outcome, failure.cause
        finally:
            total = clock.since_start() if clock.total is None else clock.total
            watch.close()
            cpu = tree.cpu_seconds()
            if not tree.kill() and outcome == "ok":
                outcome, cause = "crash", "it left processes that could not be ended"
            channel.close()
            text = log.close()
        if watch.fault is not None:
            raise JudgeFault(f"the watch failed: {watch.fault!r}") from watch.fault
        if dialogue.stage == BEFORE and outcome != "ok":
            raise JudgeFault(f"the inference process did not start: {cause}\n{text}")
    return Inference(
        outcome=outcome,
        cause=cause,
        seconds=clock.seconds,
        start_up=clock.start_up,
        total=total,
        cpu=cpu,
        memory=watch.peak,
        log=text,
        broken=broken,
    )


def _reconstruct(
    dialogue: Dialogue,
    clock: _Clock,
    sources: Sequence[Path],
    output: Path,
    planned: int,
    progress: Callable[[Step], None] | None,
) -> None:
    """Every image once, on the clock.

    While the entry computes, the measurement that comes next is read and the reconstruction that
    came last is saved: that is our work, not its time.
    """

    def ask(number: int) -> float:
        content, measurement = upcoming
        dialogue.stage = f"on image `{measurement.identity}`, {number} of {len(sources)}"
        dialogue.ask(content, measurement.shape)
        return time.monotonic()

    if not sources:
        clock.total = clock.since_start()
        return
    upcoming = _read(sources[0])
    began = ask(1)
    for number in range(1, len(sources) + 1):
        identity = upcoming[1].identity
        last = number == len(sources)
        if not last:
            upcoming = _read(sources[number])
        answer = dialogue.answer()
        now = time.monotonic()
        if now > dialogue.deadline:
            raise Failed("timeout", f"the limit came {dialogue.stage}")
        seconds = clock.seconds[identity] = now - began
        if not last:
            began = ask(number + 1)
        _save(output / f"{identity}.npy", answer.x_hat)
        if answer.deviation is not None:
            _save(calibration.path_of(output, identity), answer.deviation)
        if progress is not None:
            pace = (now - clock.started - clock.start_up) / number
            projected = clock.start_up + pace * planned
            progress(Step(identity, seconds, number, len(sources), projected))
    clock.total = now - clock.started


def _first_once_more(
    dialogue: Dialogue, clock: _Clock, sources: Sequence[Path], output: Path
) -> None:
    """The first image once more, off the clock: what came in between may not matter."""
    if not sources:
        return
    content, measurement = _read(sources[0])
    dialogue.stage = f"on image `{measurement.identity}`, a second time"
    limit = REPEAT_GRACE + dialogue.limits.minutes * 60
    allowed = REPEAT_GRACE + REPEAT_FACTOR * clock.seconds[measurement.identity]
    dialogue.deadline = time.monotonic() + min(limit, allowed)
    try:
        dialogue.ask(content, measurement.shape)
        answer = dialogue.answer()
    except Failed as failure:
        if failure.outcome != "timeout":
            raise
        cause = f"it took over {REPEAT_FACTOR} {SLOWER} ({dialogue.stage})"
        raise Failed("nondeterministic", cause) from None
    path = output / f"{measurement.identity}.npy"
    difference = _difference(answer.x_hat, path)
    if difference > SAME:
        raise Failed("nondeterministic", f"x_hat differs by {difference:.2g} ({dialogue.stage})")
    path = calibration.path_of(output, measurement.identity)
    if (answer.deviation is not None) != path.exists():
        raise Failed("nondeterministic", f"a standard deviation came once only ({dialogue.stage})")
    if answer.deviation is not None and (found := _difference(answer.deviation, path)) > SAME:
        cause = f"the standard deviation differs by {found:.2g} ({dialogue.stage})"
        raise Failed("nondeterministic", cause)


def _difference(values: NDArray[np.float32], path: Path) -> float:
    """From those that were saved, at most."""
    before = np.load(path, allow_pickle=False)
    return float(np.abs(values.astype(np.float64) - before).max())


def _contract(dialogue: Dialogue, about: dict[str, Any]) -> tuple[str, ...]:
    """The rules that it breaks; that the test itself ends badly is one of them, and no verdict."""
    try:
        return dialogue.contract(about)
    except Failed as failure:
        return (f"{failure.outcome}: {failure.cause}",)


def _read(source: Path) -> tuple[bytes, Measurement]:
    """A stored measurement as it is handed over, and what stands in it, checked."""
    content = measurements.read_bytes(source)
    return content, measurements.from_bytes(content, source)


def _save(path: Path, x_hat: NDArray[np.float32]) -> None:
    """Write a reconstruction, whole or not at all; it can be made again, so no fsync."""
    temporary = path.with_name(f".{path.name}.partial")
    # Not into the file at once: what `np.save` raises then does not say that the disk is full.
    content = io.BytesIO()
    np.save(content, x_hat, allow_pickle=False)
    with atomic.disk_errors(path):
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(content.getbuffer())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
