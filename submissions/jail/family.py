"""Who descends from whom: the processes of a family, by their numbers, as fast as they come.

Free of torch; on Linux it reads /proc itself, elsewhere psutil is asked.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping

import psutil

LINUX = sys.platform == "linux"
_NEWEST = 4
"""So many of the numbers that were given out last are looked at."""


def descendants(root: int, children: Callable[[int], list[int]]) -> list[int]:
    """All that a process started, and what those started."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        new = [each for each in children(waiting.pop()) if each not in found]
        found += new
        waiting += new
    return found


def lookup() -> Callable[[int], list[int]]:
    """A function from a process to its children, as they are about now.

    By the kernel's own lists, of each thread, where it keeps them (CONFIG_PROC_CHILDREN). Else all
    processes of the machine are read, once: that takes a hundred times longer.
    """
    if not LINUX:
        return _by_psutil
    if os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return _by_lists
    families: dict[int, list[int]] = {}
    for name in names("/proc"):
        if name.isdigit() and (found := parent(int(name))) is not None:
            families.setdefault(found, []).append(int(name))
    return lambda process: families.get(process, [])


def parent(process: int) -> int | None:
    """The parent of a process; None where there is no such process."""
    content = read(f"/proc/{process}/stat")
    try:
        # Its name, in brackets, may hold anything.
        return int(content.rpartition(b") ")[2].split(maxsplit=2)[1])
    except (IndexError, ValueError):
        return None


def runs(process: int) -> bool:
    """Whether a thread of a process runs, or may at any moment: it has not ended or stopped."""
    tasks = f"/proc/{process}/task"
    states = (read(f"{tasks}/{each}/stat").rpartition(b") ")[2][:1] for each in names(tasks))
    return any(each not in (b"", b"T", b"t", b"Z", b"X") for each in states)


def born(process: int) -> int:
    """When a process was born, in ticks since the machine was; 0 where there is none."""
    try:
        # Its name, in brackets, may hold anything.
        return int(read(f"/proc/{process}/stat").rpartition(b") ")[2].split()[19])
    except (IndexError, ValueError):
        return 0


def orphans(candidates: Collection[int], before: Mapping[int, int]) -> list[int]:
    """Children of this process, of those, that are new and of another session.

    Nobody here started those: they were adopted.

    Args:
        candidates: numbers of processes.
        before: those that were there before, and when each was born: numbers are given out again.
    """
    session, found = os.getsid(0), []
    for each in candidates:
        with contextlib.suppress(OSError):
            known = each in before and born(each) == before[each]
            if not known and os.getsid(each) != session:
                found.append(each)
    return found


def newest_children() -> Iterator[int]:
    """Children of this process among the latest of the machine, each as soon as it is met.

    The kernel tells the number that it gave out last: so one is met that lives a ten-thousandth of
    a second.
    """
    words = read("/proc/loadavg").split()
    last = int(words[-1]) if words and words[-1].isdigit() else 0
    for each in range(last, max(last - _NEWEST, 1), -1):
        if parent(each) == os.getpid():
            yield each


def names(folder: str) -> list[str]:
    """What is in a folder; nothing where that is gone, as it may be in /proc at any moment."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read(path: str) -> bytes:
    """A file of /proc, up to 64 KiB; empty where it is gone, or there is no such folder."""
    if not LINUX:
        return b""
    try:
        place = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(place, 65_536)
    except OSError:
        return b""
    finally:
        os.close(place)


def _by_lists(process: int) -> list[int]:
    found: list[int] = []
    for task in names(f"/proc/{process}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{process}/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def _by_psutil(process: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(process).children()]
    return []
