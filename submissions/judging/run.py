"""One entry run over the hidden measurements: here, or wherever a judge has its machines.

What comes back is the same in both cases: reconstructions in a folder, times, log, and the facts of
the machine. Neither truth nor key is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from challenge.configs.schema.challenge import Limits
from challenge.submissions import scratch
from challenge.submissions.entries import archive
from challenge.submissions.inference import repeat, supervisor
from challenge.submissions.inference.repeat import Repeat
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging.load import Load, Meter
from challenge.submissions.judging.result import Where
from challenge.submissions.machine import describe
from challenge.submissions.machine import versions as versions_of

OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Order:
    """What is run: an entry over measurements, within limits, in a jail."""

    entry: Path
    """The zip, checked."""
    name: str
    """Of the zip, to be shown."""
    measurements: tuple[Path, ...]
    """Stored ones, in the order in which they are handed over."""
    limits: Limits
    jail: Jail
    repeats: bool
    """Whether some images are reconstructed a second time."""


@dataclass(frozen=True)
class Ran:
    """What came of it."""

    inference: Inference
    """With the verdict of the second run, where there was one."""
    load: Load
    second: Repeat | None = None
    machine: dict[str, Any] = field(default_factory=describe)
    versions: dict[str, str] = field(default_factory=versions_of)
    where: Where | None = None
    """None: on the organiser's machine, by the process that asked."""


Runs = Callable[[Order, Path, OnStep | None], Ran]
"""Runs an order, fills a folder with `<id>.npy` and `deviation/<id>.npy`, calls after each image.

Raises `JudgeFault` where our own part failed, so that nothing can be said about the entry.
"""


def run_here(order: Order, made: Path, progress: OnStep | None) -> Ran:
    """Run an entry in a jail of this machine."""
    with scratch.folder("entry") as folder:
        archive.extract(order.entry, folder)
        meter = Meter(order.limits.threads)
        sources: Sequence[Path] = order.measurements
        about = made, order.limits, order.jail
        inference = supervisor.infer(folder, sources, *about, progress=progress)
        second = None
        if inference.outcome == "ok" and order.repeats:
            second = repeat.repeat_images(folder, sources, *about)
            inference = second.applied_to(inference)
        return Ran(inference, meter.read(inference.cpu), second)
