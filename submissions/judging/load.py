"""How busy other programs keep the cores that entries are judged on.

    foreign = (busy time of the cores - processor time of the judge and of what it started)
              / (elapsed time * number of cores)

Busy time is the kernel's count, with what a hypervisor stole. What runs on other cores is none of
it, though it shares memory and cache. Processor time of the judge that was spent on other cores is
taken off as well, so the share is rather too small than too large.
"""

from __future__ import annotations

import os
import time

import psutil

from challenge.configs.schema.section import Section
from challenge.submissions import machine

BUSY = 0.1
"""Share of the cores' time from which on what failed by the clock is in doubt."""
SHORTEST = 0.15
"""Seconds of a look: the kernel counts in steps of 0.01."""


class Load(Section):
    """Of the cores that an entry was judged on, while it was."""

    cores: int
    foreign: float
    """Share of their time that others took, in [0, 1]."""
    stolen: float = 0.0
    """The part of it that the hypervisor took."""
    before: float | None = None
    """`foreign` while the entry was checked, just before; None where that was too short."""

    @property
    def busy(self) -> bool:
        return self.foreign >= BUSY


class Meter:
    """Looks from now on at the first so many cores of this process, which entries are pinned to."""

    def __init__(self, threads: int) -> None:
        self._cores = machine.core_numbers()[:threads]
        self._before = self._look()

    def so_far(self) -> float | None:
        """The share that others took since the beginning; None where that was a moment ago."""
        long_enough = time.monotonic() - self._before[0] >= SHORTEST
        return self.read().foreign if long_enough else None

    def read(self, entry_seconds: float = 0.0) -> Load:
        """The load since the beginning, which is waited for where it was a moment ago.

        Args:
            entry_seconds: processor time of an entry that ran meanwhile; by default what the
                system says of the processes that were waited for.
        """
        spent = time.monotonic() - self._before[0]
        if spent < SHORTEST:
            time.sleep(SHORTEST - spent)
        now = self._look()
        elapsed, busy, stolen, own, ended = (
            after - before for after, before in zip(now, self._before, strict=True)
        )
        count = len(self._cores) or machine.cores()
        room = elapsed * count
        foreign = busy - own - max(ended, entry_seconds)
        return Load(
            cores=count,
            foreign=round(min(1.0, max(0.0, foreign / room)), 3),
            stolen=round(min(1.0, max(0.0, stolen / room)), 3),
        )

    def _look(self) -> tuple[float, float, float, float, float]:
        """Clock; seconds that the cores were busy, and stolen; of this process, of ended ones."""
        each = psutil.cpu_times(percpu=True)
        chosen = [each[number] for number in self._cores if number < len(each)] or each
        stolen = sum(getattr(times, "steal", 0.0) for times in chosen)
        idle = ("idle", "iowait", "steal", "guest", "guest_nice")
        busy = sum(
            value for times in chosen for name, value in times._asdict().items() if name not in idle
        )
        own = os.times()
        ended = own.children_user + own.children_system
        return time.monotonic(), busy + stolen, stolen, own.user + own.system, ended
