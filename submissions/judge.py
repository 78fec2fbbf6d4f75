"""The judge's supervisor: it hands one measurement at a time to a process and takes the answer.

It never imports torch or a team's code. Time is its own clock's; limits are the organiser's.
The same code serves a team's dry run and the organiser's verdict.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema import Limits
from challenge.data import measurements
from challenge.submissions import jail, processes
from challenge.submissions.channel import Channel, Ended, Message
from challenge.submissions.frames import Garbled
from challenge.submissions.log import Log, harmless
from challenge.submissions.outcomes import Outcome

RUNNER = (sys.executable, "-s", "-P", "-B", "-u", "-m", "challenge.submissions.runner")


BEFORE = "before the team's code was reached"


class Fault(RuntimeError):
    """A fault of ours or of this machine; it is never reported as the team's."""


@dataclass(frozen=True)
class Step:
    """Told after each reconstruction."""

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
    """Per image, in order: from handing over the measurement to the saved reconstruction."""
    start_up: float
    """Seconds from spawn to the method being ready."""
    total: float
    """Seconds from spawn to the last saved reconstruction, or to the end."""
    cpu: float
    """Processor seconds of the process with its children."""
    memory: int
    """Peak resident bytes of the process with its children."""
    log: str
    """What the entry printed, shortened and harmless."""
    broken: tuple[str, ...] = ()
    """Rules of the method contract that it breaks, where that was asked for."""


@dataclass
class _Failed(Exception):
    outcome: Outcome
    cause: str


@dataclass
class _Session:
    """One conversation with an inference process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    watch: processes.Watch
    deadline: float
    limits: Limits
    seconds: dict[str, float] = field(default_factory=dict)
    start_up: float = 0.0
    running: str = BEFORE

    def next(self, kind: str) -> Message:
        """The next message, which must be of this kind."""
        try:
            message = self.channel.receive(self.deadline)
        except TimeoutError:
            minutes = f"{self.limits.minutes:g} min"
            raise _Failed(
                "timeout", f"the limit of {minutes} came {self.running}; {len(self.seconds)} done"
            ) from None
        except Ended:
            raise self._ended() from None
        except Garbled as error:
            raise _Failed("crash", f"its answer is no message: {error} ({self.running})") from None
        header = message.header
        if header.get("kind") == "failed":
            outcome: Outcome = (
                "import_error" if header.get("outcome") == "import_error" else "crash"
            )
            raise _Failed(outcome, f"{_plain(header.get('error', ''), 600)} ({self.running})")
        if header.get("kind") != kind:
            raise _Failed("crash", f"it answered out of turn ({self.running})")
        return message

    def _ended(self) -> _Failed:
        """Why the process is gone."""
        if self.watch.exceeded:
            used, limit = self.watch.peak / 1e9, self.limits.memory_gb
            return _Failed(
                "out_of_memory", f"it used {used:.2f} GB of {limit:g} GB ({self.running})"
            )
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return _Failed("crash", f"it closed its pipes ({self.running})")
        how = f"its process {processes.describe_end(code)} ({self.running})"
        if not self.start_up:
            return _Failed("import_error", how)
        if code == -9 and self.watch.peak > self.limits.memory_gb * 0.5e9:
            return _Failed("out_of_memory", how)
        return _Failed("missing_output" if code == 0 else "crash", how)


def infer(
    entry: Path,
    sources: Sequence[Path],
    output: Path,
    limits: Limits,
    *,
    planned: int | None = None,
    progress: Callable[[Step], None] | None = None,
    contract: dict[str, Any] | None = None,
    command: Sequence[str] = RUNNER,
) -> Inference:
    """Reconstruct measurements with an entry, in a process of its own, within the limits.

    Args:
        entry: the unpacked entry, read by the process.
        sources: stored measurements, `.npz`, handed over one by one in this order.
        output: folder for the reconstructions, `<id>.npy`, float32 of shape (C, H, W).
        limits: wall clock over all images, threads, memory.
        planned: number of images that the limit is meant for; that of `sources` by default.
        progress: called after every image.
        contract: `channels` and `boundary`, to test the method contract as well, afterwards.
        command: starts the inference process; entry folder and threads are appended.

    Raises:
        Fault: our own part failed, so nothing can be said about the entry.
        UserError: a measurement is missing or damaged.
    """
    output.mkdir(parents=True, exist_ok=True)
    outcome: Outcome = "ok"
    cause = ""
    broken: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="challenge-") as scratch, processes.adopting():
        before = processes.children()
        started = time.monotonic()
        process = jail.spawn(
            [*command, str(entry.resolve()), str(limits.threads)],
            scratch=Path(scratch),
            threads=limits.threads,
        )
        tree = processes.Tree(process, before)
        assert process.stdin
        assert process.stdout
        assert process.stderr
        log = Log(process.stderr)  # type: ignore[arg-type]
        channel = Channel(process.stdin, process.stdout)  # type: ignore[arg-type]
        watch = processes.Watch(tree, process, limits.memory_gb * 1e9, channel.exited)
        session = _Session(process, channel, watch, started + limits.minutes * 60, limits)
        try:
            _start(session, started)
            _reconstruct(session, sources, output, started, planned, progress)
            total = time.monotonic() - started
            watch.sample()
            if watch.exceeded:
                raise session._ended()
            if contract is not None:
                broken = _contract(session, contract)
        except _Failed as failure:
            total = time.monotonic() - started
            outcome, cause = failure.outcome, failure.cause
        finally:
            watch.close()
            cpu = tree.cpu_seconds()
            tree.kill()
            channel.close()
            text = log.close()
            process.stderr.close()
        if outcome not in ("timeout", "out_of_memory") and session.running == BEFORE:
            raise Fault(f"the inference process did not start: {cause}\n{text}")
    return Inference(
        outcome=outcome,
        cause=cause,
        seconds=session.seconds,
        start_up=session.start_up,
        total=total,
        cpu=cpu,
        memory=watch.peak,
        log=text,
        broken=broken,
    )


def _start(session: _Session, started: float) -> None:
    session.next("started")
    session.running = "while the method was loaded"
    session.next("ready")
    session.start_up = time.monotonic() - started


def _reconstruct(
    session: _Session,
    sources: Sequence[Path],
    output: Path,
    started: float,
    planned: int | None,
    progress: Callable[[Step], None] | None,
) -> None:
    for number, source in enumerate(sources, 1):
        began = time.monotonic()
        measurement = measurements.read(source)
        identity = measurement.identity
        session.running = f"on image `{identity}`, {number} of {len(sources)}"
        session.channel.accept = 4 * int(np.prod(measurement.shape))
        session.channel.send({"kind": "measure"}, measurements.to_bytes(measurement))
        x_hat = _checked(session.next("estimate"), measurement.shape, session.running)
        _save(output / f"{identity}.npy", x_hat)
        now = time.monotonic()
        if now > session.deadline:
            raise _Failed("timeout", f"the limit came {session.running}")
        session.seconds[identity] = now - began
        if progress is not None:
            pace = (now - started - session.start_up) / number
            projected = session.start_up + pace * (planned or len(sources))
            progress(Step(identity, now - began, number, len(sources), projected))


def _checked(message: Message, shape: tuple[int, int, int], where: str) -> NDArray[np.float32]:
    """The reconstruction of a message, shape (C, H, W); says what is wrong with it otherwise."""
    header, payload = message.header, message.payload
    kind, dtype, got = (header.get(key) for key in ("type", "dtype", "shape"))
    if kind != "Tensor":
        raise _Failed("bad_shape", f"forward returned a {_plain(kind)}, not a tensor ({where})")
    if got != [1, *shape]:
        raise _Failed("bad_shape", f"x_hat has shape {_plain(got)}, not {[1, *shape]} ({where})")
    if dtype != "float32" or payload is None or len(payload) != 4 * int(np.prod(shape)):
        raise _Failed("bad_shape", f"x_hat is {_plain(dtype)}, not float32 ({where})")
    x_hat = np.frombuffer(payload, dtype=np.float32).reshape(shape)
    if not np.isfinite(x_hat).all():
        share = float(np.mean(~np.isfinite(x_hat)))
        raise _Failed("non_finite", f"{share:.1%} of x_hat is NaN or infinite ({where})")
    return x_hat


def _contract(session: _Session, contract: dict[str, Any]) -> tuple[str, ...]:
    session.running = "in the contract test"
    session.channel.accept = 1_000_000
    session.channel.send({"kind": "contract", **contract})
    payload = session.next("contract").payload or b"[]"
    try:
        found = json.loads(payload)
    except ValueError:
        raise _Failed("crash", f"it answered out of turn ({session.running})") from None
    return tuple(_plain(each, 600) for each in found)


def _save(path: Path, x_hat: NDArray[np.float32]) -> None:
    """Write a reconstruction, whole or not at all; it can be made again, so no fsync."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        np.save(file, x_hat, allow_pickle=False)
    os.replace(temporary, path)


def _plain(value: object, longest: int = 80) -> str:
    """Words of the other side, made harmless and one line."""
    return harmless(" ".join(str(value).split())[:longest].encode("utf-8", "backslashreplace"))
