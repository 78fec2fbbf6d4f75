"""Some images again, in another order, in a fresh process: do they come out the same?

A method that depends on the order of images, on what is left of an earlier one, on the time or
on chance beyond the seeded generators cannot be reproduced, so its score means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from challenge.configs.schema.challenge import Limits
from challenge.submissions import scratch
from challenge.submissions.inference import supervisor
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.scoring import calibration

SHARE, FEWEST = 4, 2
"""One of so many images is reconstructed again, and at least so many."""
TOLERANCE = supervisor.SAME
"""Largest difference of a pixel, in units of the image range, that counts as the same."""


@dataclass(frozen=True)
class Repeat:
    """What came of reconstructing some images a second time."""

    differences: dict[str, float]
    """Per image, in the order of the second run: the largest difference of a pixel, or of its
    standard deviation where the method gives one."""
    seconds: float
    """Of the second run, start-up included."""
    once: tuple[str, ...] = ()
    """Images whose standard deviation came in one of the two runs only."""
    failure: str = ""
    """Why the second run ended early; empty if it did not."""
    log: str = ""
    """What the entry printed in the second run, shortened and harmless."""

    @property
    def cause(self) -> str:
        """What makes the entry `nondeterministic`, in one line; empty if nothing does."""
        if self.failure:
            return f"the second time it failed: {self.failure}"
        if self.once:
            listed = ", ".join(f"`{each}`" for each in self.once)
            return f"run again in another order, a standard deviation came once only: {listed}"
        worst = {each: size for each, size in self.differences.items() if size > TOLERANCE}
        if not worst:
            return ""
        listed = ", ".join(f"`{each}` by {size:.2g}" for each, size in worst.items())
        return f"run again in another order, x_hat differs: {listed}; {TOLERANCE:g} are allowed"

    def applied_to(self, first: Inference) -> Inference:
        """The first run with the second one's verdict: `nondeterministic` where they differ."""
        if not self.cause:
            return first
        return replace(first, outcome="nondeterministic", cause=self.cause, log=self.log)

    def to_json(self) -> dict[str, Any]:
        return {
            "differences": self.differences,
            "tolerance": TOLERANCE,
            "seconds": self.seconds,
            "failure": self.failure,
            "log": self.log,
        }


def chosen(sources: Sequence[Path]) -> list[Path]:
    """The measurements that are reconstructed again: spread evenly, and last ones first."""
    count = min(len(sources), max(FEWEST, -(-len(sources) // SHARE)))
    if count == 0:
        return []
    spread = np.linspace(0, len(sources) - 1, count).round().astype(int)
    return [sources[index] for index in reversed(spread)]


def repeat_images(
    entry: Path,
    sources: Sequence[Path],
    made: Path,
    limits: Limits,
    jail: Jail,
    *,
    progress: Callable[[Step], None] | None = None,
) -> Repeat:
    """Reconstruct some images once more, on a clock of their own.

    Args:
        entry: the unpacked entry.
        sources: the stored measurements of the first run, in its order.
        made: folder with the first run's reconstructions, `<id>.npy`.
        limits: as of the first run; all of its time is there again.
        jail: where.
        progress: called after every image.

    Raises:
        JudgeFault: our own part failed.
    """
    with scratch.folder("repeat") as output:
        found = supervisor.infer(entry, chosen(sources), output, limits, jail, progress=progress)
        differences, once = {}, []
        for identity in found.seconds:
            image, deviation = Path(f"{identity}.npy"), calibration.path_of(Path(), identity)
            differences[identity] = _difference(made / image, output / image)
            known = [(folder / deviation).exists() for folder in (made, output)]
            if all(known):
                of_deviation = _difference(made / deviation, output / deviation)
                differences[identity] = max(differences[identity], of_deviation)
            elif any(known):
                once.append(identity)
    failure = "" if found.outcome == "ok" else f"{found.outcome}: {found.cause}"
    return Repeat(differences, found.total, tuple(once), failure, found.log)


def _difference(first: Path, second: Path) -> float:
    """The largest difference of two stored arrays."""
    a, b = (np.load(path, allow_pickle=False).astype(np.float64) for path in (first, second))
    return float(np.abs(a - b).max())
