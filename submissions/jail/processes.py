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
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
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

    def __init__(self, process: subprocess.Popen[bytes], before: set[int]) -> None:
        self._process = process
        self._before = before

    def members(self) -> list[psutil.Process]:
        """All that are alive: the process, its descendants, and orphans of it."""
        roots = []
        with contextlib.suppress(psutil.NoSuchProcess):
            roots.append(psutil.Process(self._process.pid))
        roots += [orphan for orphan in self._orphans() if orphan.pid != self._process.pid]
        found: dict[int, psutil.Process] = {}
        for root in roots:
            found[root.pid] = root
            found.update({child.pid: child for child in descendants(root)})
        return list(found.values())

    def cpu_seconds(self) -> float:
        """Processor time of all members and of those that ended and were waited for."""
        total = 0.0
        for member in self.members():
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                total += times.user + times.system
                total += getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
        return total

    def kill(self, patience: float = 10) -> None:
        """Kill until nobody is left. What is born in between is found in the next round."""
        end = time.monotonic() + patience
        if os.name == "posix" and self._process.returncode is None:
            # Where orphans are not adopted, those of the same process group are found so.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        while members := self.members():
            for member in members:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            psutil.wait_procs([m for m in members if m.pid != self._process.pid], timeout=1)
            if time.monotonic() > end:
                return

    def _orphans(self) -> list[psutil.Process]:
        """Children of ours that are new and of another session: nobody here started those."""
        if sys.platform != "linux":
            return []
        session = os.getsid(0)
        found = []
        for child in _children(psutil.Process()):
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if child.pid not in self._before and os.getsid(child.pid) != session:
                    found.append(child)
        return found


def children() -> set[int]:
    """The ids of this process's children now."""
    return {child.pid for child in _children(psutil.Process())}


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """All that a process started, and what those started."""
    found: list[psutil.Process] = []
    waiting = [root]
    while waiting:
        new = _children(waiting.pop())
        found += new
        waiting += new
    return found


def _children(parent: psutil.Process) -> list[psutil.Process]:
    """The children of a process: of each of its threads, by the kernel's own lists.

    psutil looks at every process of the machine instead; that is a hundred times slower.
    """
    tasks = f"/proc/{parent.pid}/task"
    lists = [Path(tasks, task, "children") for task in names(tasks)]
    if not any(each.exists() for each in lists):
        with contextlib.suppress(psutil.Error):
            return parent.children()
        return []
    found = []
    for each in lists:
        with contextlib.suppress(OSError, psutil.Error):
            found += [psutil.Process(int(pid)) for pid in each.read_text().split()]
    return found


def names(folder: str) -> list[str]:
    """What is in a folder; nothing where that is gone, as it may be in /proc at any moment."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


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
