"""The tree of a judged process: whatever it started, found and killed together.

On Linux the supervisor adopts orphans (`PR_SET_CHILD_SUBREAPER`), so that a process that forks
twice and starts its own session is still found; elsewhere such a process can escape.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil

from challenge.submissions.jail import family
from challenge.submissions.jail.cgroup import Group

_PR_SET_CHILD_SUBREAPER = 36
LOOKS = 12
"""So many looks in a row must find nobody."""
PAUSE = 2e-4
"""Seconds from a look that found nobody to the next."""
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def as_subreaper() -> Iterator[None]:
    """Become the parent of orphans of the processes started inside, as a subreaper (prctl(2)).

    One such block at a time per process.
    """
    with _one_at_a_time:
        _subreaper(True)
        try:
            yield
        finally:
            _subreaper(False)


class Tree:
    """A process with all its descendants. Make it in `as_subreaper()`, before the process runs."""

    def __init__(
        self, process: subprocess.Popen[bytes], before: dict[int, int], group: Group | None = None
    ) -> None:
        self._process = process
        self._before = before
        self._group = group
        self._buried = 0

    def members(self) -> list[int]:
        """The numbers of all that are there: the process, its descendants, and orphans of it.

        Orphans that have ended are buried: who forks and ends, over and over, would fill the
        machine's table of processes.
        """
        children = family.lookup()
        adopted = [each for each in self._orphans(children(os.getpid())) if not self._bury(each)]
        here = self._process.returncode is None
        roots = [self._process.pid] * here + adopted
        found = [each for root in roots for each in (root, *family.descendants(root, children))]
        return list(dict.fromkeys(found))

    def ran_out(self) -> bool:
        """Whether the kernel ended processes because their group held too much memory."""
        return self._group is not None and self._group.ran_out()

    def cpu_seconds(self) -> float:
        """Processor time of all members and of those that ended and were waited for."""
        total = 0.0
        for member in self.members():
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(member).cpu_times()
                total += times.user + times.system
                total += getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
        return total

    @contextlib.contextmanager
    def held_still(self, patience: float = 0.5) -> Iterator[None]:
        """All members stop, as soon as each of their threads leaves the kernel, and then go on.

        One such block at a time: the end of one lets all of them go on.

        Args:
            patience: seconds to wait for that at most.
        """
        stopped = self.members() if family.LINUX else []
        try:
            for each in stopped:
                _signal(each, signal.SIGSTOP)
            end = time.monotonic() + patience
            while any(map(family.runs, stopped)) and time.monotonic() < end:
                time.sleep(0.001)
            yield
        finally:
            for each in stopped:
                _signal(each, signal.SIGCONT)

    def kill(self, patience: float = 10) -> bool:
        """Kill until `LOOKS` looks in a row find nobody; False if after `patience` seconds some do.

        What forks and ends is there for a moment, and has a child by then: it is met by looking
        often, at the newest of all processes first.
        """
        end = time.monotonic() + patience
        if self._group is not None:
            self._group.kill()
        if os.name == "posix" and self._process.returncode is None:
            # Where orphans are not adopted, those of the same process group are found so.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        empty = 0
        while empty < LOOKS:
            buried = self._buried
            self._strike_newest()
            members = self.members()
            for each in members:
                _kill(each)
            self._process.poll()
            # Whoever was not there when we looked is known by the dead that it leaves.
            empty = 0 if members or self._buried > buried else empty + 1
            if time.monotonic() > end:
                return False
            # To end takes them a moment; and whoever waits for a core shows when it gets one.
            time.sleep(0.001 if members else PAUSE)
        return True

    def _strike_newest(self) -> None:
        """Kill what was born just now, by the way to all the others."""
        for each in family.newest_children():
            if self._orphans([each]):
                _kill(each)

    def _orphans(self, candidates: list[int]) -> list[int]:
        """Those of these children of ours that nobody here started."""
        if not family.LINUX:
            return []
        # Once it is waited for, its number may be another's: who forks fast enough chooses his own.
        own = {self._process.pid} if self._process.returncode is None else set()
        return family.orphans([each for each in candidates if each not in own], self._before)

    def _bury(self, orphan: int) -> bool:
        """Whether an orphan has ended; then it is gone for good."""
        try:
            ended = os.waitpid(orphan, os.WNOHANG)[0] != 0
        except OSError:
            return True
        self._buried += ended
        return ended


def children() -> dict[int, int]:
    """The numbers of this process's children now, and when each was born."""
    return {each: family.born(each) for each in family.lookup()(os.getpid())}


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(process, number)


def _kill(process: int) -> None:
    # psutil knows how, where there are no signals; here it would look at the process before.
    with contextlib.suppress(OSError, psutil.Error):
        if family.LINUX:
            os.kill(process, signal.SIGKILL)
        else:
            psutil.Process(process).kill()


def describe_end(code: int) -> str:
    """A process's exit status in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _subreaper(on: bool) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
