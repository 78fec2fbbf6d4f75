"""The organiser's clock: how long an entry that ran elsewhere would take here, and what decides.

The limit of minutes is meant for this machine. Speeds of both machines are measured once, as
`doctor --calibrate` does; an entry that may be on the other side of the limit is run again here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.inference import forecast, speed
from challenge.submissions.inference.speed import Speed
from challenge.submissions.judging.result import slowed
from challenge.submissions.judging.run import Ran


class Reference:
    """The organiser's machine, whose speed is measured when it is first asked for."""

    def __init__(self, workspace: Workspace, threads: int) -> None:
        """Measure nothing yet.

        Args:
            workspace: where the speed is kept.
            threads: cores of an entry.
        """
        self._workspace, self._threads = workspace, threads
        self._speed: Speed | None = None
        self.turn = threading.Lock()
        """Held by whoever uses this machine: one entry, or the measuring of its speed."""

    def projected(
        self, measured: dict[str, Any] | None, start_up: float, seconds: Sequence[float], count: int
    ) -> tuple[float, float, float] | None:
        """Seconds on this machine, from those on another one: expected, at least, at most.

        Args:
            measured: the other machine's speed, as it is stored; None where it is not known.
            start_up: seconds before the first image, there.
            seconds: of every image, there.
            count: of images that there are.
        """
        if measured is None or not seconds:
            return None
        there = speed.from_json(measured)
        found = forecast.forecast(start_up, seconds, count, there, self._measured())
        return found.expected, found.low, found.high

    def _measured(self) -> Speed:
        with self.turn:
            if self._speed is None:
                path = layout.speed(self._workspace)
                found = speed.find(path, self._threads)
                if found is None or not found.is_here or not found.usable:
                    found = speed.measure(self._threads)
                    speed.store(path, found)
                self._speed = found
            return self._speed


def is_decided(ran: Ran, limit: float) -> bool:
    """Whether the organiser's machine would surely say the same of an entry's time.

    Args:
        ran: on a worker.
        limit: seconds.
    """
    where, outcome = ran.where, ran.inference.outcome
    if where is None or where.reference:
        return True
    if outcome == "ok":
        return where.projected is not None and where.projected[2] <= limit
    if outcome == "timeout":
        return where.projected is not None and where.projected[1] > limit
    slower = outcome == "nondeterministic" and slowed(ran.inference.cause)
    return not slower
