"""What a process holds in memory, by the kernel's own record of it.

Memory means user pages: resident, at their peak, with page tables and what was swapped out. What
the kernel keeps for a process beside those is counted by a cgroup only.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace

import psutil

from challenge.submissions.jail import family

_PAGE = os.sysconf("SC_PAGE_SIZE") if family.LINUX else 0
_KEPT_OPEN = 32
"""Records that stay open at a time, two files each: descriptors of ours are few."""
_KILLED = 1 << (signal.SIGKILL - 1) if family.LINUX else 0
_FLAGS = 6
"""Where a thread's flags stand in /proc/PID/stat, behind its name."""
_ENDING = 0x4 | 0x400
"""The kernel's PF_EXITING and PF_SIGNALED."""
_FIELDS = re.compile(
    rb"^(State|VmHWM|VmRSS|VmPTE|VmSwap|HugetlbPages|Threads|SigPnd):\s+(\S+)", re.M
)


@dataclass(frozen=True)
class Held:
    """What one process, or several together, hold."""

    now: int = 0
    """Bytes."""
    peak: int = 0
    """Bytes at the highest, of a single one."""
    beside: int = 0
    """Of `now`, what is not resident: page tables, what was swapped out, huge pages."""
    threads: int = 0
    headless: bool = False
    """Whether a first thread has ended and others go on. The kernel keeps a process's record with
    its first thread, so such a process hides what it holds."""


class Record:
    """The record of one process. Its files stay open, so that a look is one call of the system."""

    def __init__(self, process: int, *, keep: bool = True) -> None:
        self._process = process
        self._resident = self._status = -1
        self._last = Held()
        self._suspect = False
        self._threads: set[str] = set()
        self._living: set[str] = set()
        if keep and family.LINUX:
            with contextlib.suppress(OSError):
                self._status = os.open(_path(process, "status"), os.O_RDONLY | os.O_CLOEXEC)
                self._resident = os.open(_path(process, "statm"), os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # Another thread may look at it until then.
        for place in (self._resident, self._status):
            if place >= 0:
                os.close(place)

    def look(self, *, briefly: bool = False) -> Held:
        """What it holds now; nothing once it has ended.

        Args:
            briefly: only what is resident may be new, since that costs a tenth; the peak is the
                kernel's, and can be asked for later.
        """
        if not family.LINUX:
            return _by_psutil(self._process)
        try:
            if briefly and self._resident >= 0:
                resident = _PAGE * int(os.pread(self._resident, 128, 0).split()[1])
                # Nothing has whoever ended, or lost its first thread: that stands in the status.
                if resident:
                    now = resident + self._last.beside
                    return replace(self._last, now=now, peak=max(now, self._last.peak))
            content = os.pread(self._status, 65_536, 0) if self._status >= 0 else b""
        except OSError:
            return Held()
        found = parse(content or family.read(_path(self._process, "status")))
        if found.headless:
            found = replace(found, headless=self._goes_on())
        self._last = found
        return found

    def _goes_on(self) -> bool:
        """Whether threads live on after their first, seen twice in a row.

        In a process that ends as a whole they are still there for a moment too, but each of them is
        killed, and none is born. Between taking the signal and ending, a thread looks alive for an
        instant: so one counts that lived at the look before as well.
        """
        folder = f"/proc/{self._process}/task"
        before, self._threads = self._threads, {*family.names(folder)}
        lived, self._living = self._living, {each for each in self._threads if _lives(folder, each)}
        goes_on = bool(before and self._threads - before) or bool(lived & self._living)
        twice, self._suspect = goes_on and self._suspect, goes_on
        return twice


def records(processes: Iterable[int], known: dict[int, Record]) -> dict[int, Record]:
    """The records of these processes, those that are known again."""
    made: dict[int, Record] = {}
    for each in processes:
        made[each] = known.get(each) or Record(each, keep=len(made) < _KEPT_OPEN)
    return made


def together(found: Iterable[Record], *, briefly: bool = False) -> Held:
    """What processes hold together."""
    total = Held()
    for each in found:
        one = each.look(briefly=briefly)
        total = Held(
            total.now + one.now,
            max(total.peak, one.peak),
            total.beside + one.beside,
            total.threads + one.threads,
            total.headless or one.headless,
        )
    return total


def parse(status: bytes) -> Held:
    """From the text of /proc/PID/status; a process chooses its name, but not a line of its own."""
    found = dict(_FIELDS.findall(status))
    if not found:
        return Held()
    beside = 1024 * sum(int(found.get(name, 0)) for name in (b"VmPTE", b"VmSwap", b"HugetlbPages"))
    now, peak = (1024 * int(found.get(name, 0)) + beside for name in (b"VmRSS", b"VmHWM"))
    threads = int(found.get(b"Threads", 0))
    headless = found.get(b"State") == b"Z" and threads > 1
    return Held(now, max(now, peak), beside, threads, headless)


def _lives(folder: str, thread: str) -> bool:
    """Whether a thread has its memory still, is not about to be killed and does not end."""
    found = dict(_FIELDS.findall(family.read(f"{folder}/{thread}/status")))
    if b"VmRSS" not in found or int(found.get(b"SigPnd", b"0"), 16) & _KILLED:
        return False
    # Its name, in brackets, may hold anything.
    fields = family.read(f"{folder}/{thread}/stat").rpartition(b") ")[2].split()
    return len(fields) > _FLAGS and not int(fields[_FLAGS]) & _ENDING


def _path(process: int, name: str) -> str:
    return f"/proc/{process}/{name}"


def _by_psutil(process: int) -> Held:
    try:
        one = psutil.Process(process)
        held = one.memory_info().rss
        return Held(held, held, threads=one.num_threads())
    except psutil.Error:
        return Held()
