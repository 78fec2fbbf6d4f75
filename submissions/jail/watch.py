"""What a judged process may hold, watched from outside: memory, threads and disk.

The kernel's own limits count what is reserved by one process; here counts what all of them hold.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from challenge.submissions.jail.processes import Tree, names

THREADS = 512
"""More threads than any method needs: each holds memory of the kernel that no limit counts."""


class Watch:
    """Samples memory and disk of a tree in a thread; kills it when it exceeds a limit.

    Args:
        tree: the processes.
        process: the first of them.
        limit: resident bytes.
        folder: the only one they may write in.
        quota: bytes in that folder.
        ended: called once the first process is gone: somebody may still hold its pipes.
    """

    def __init__(
        self,
        tree: Tree,
        process: subprocess.Popen[bytes],
        limit: float,
        folder: Path,
        quota: int,
        ended: Callable[[], None],
    ) -> None:
        self.peak = 0
        self.exceeded = False
        self.full = False
        self.crowded = False
        self.quota = quota
        self._folder = folder
        self._members: list[psutil.Process] = []
        self._tree, self._process, self._limit, self._ended = tree, process, limit, ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sample(self) -> None:
        """Look once, at all; kills the tree if it uses too much."""
        self._members = self._tree.members()
        self._look()
        if not self.full and self._disk() > self.quota:
            self.full = True
            self._tree.kill()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        """Look at the memory of the members that are known."""
        held, threads = held_by(self._members)
        self.peak = max(self.peak, held)
        if self.peak > self._limit and not self.exceeded:
            self.exceeded = True
            self._tree.kill()
        if threads > THREADS and not self.crowded:
            self.crowded = True
            self._tree.kill()

    def _disk(self) -> int:
        named = disk_usage(self._folder, self.quota)
        return named + nameless_usage(self._members, self._folder.resolve(), self.quota)

    def _run(self) -> None:
        """Look at the known members often, and for new ones and at the disk less often.

        Neither may cost the judged process more than a hundredth of a core.
        """
        pause, next_sample = 0.01, 0.0
        while not self._stop.wait(pause):
            began = time.monotonic()
            if began >= next_sample:
                self.sample()
                now = time.monotonic()
                # At least every second: files can be made faster than they can be counted.
                next_sample = now + min(1.0, max(0.05, 100 * (now - began)))
                pause = 0.01
            else:
                self._look()
                pause = max(0.01, 100 * (time.monotonic() - began))
            if self._process.poll() is not None:
                self._ended()
                return


def held_by(members: Iterable[psutil.Process]) -> tuple[int, int]:
    """Resident bytes of processes together, at least the peak of a single one; their threads."""
    total = peak = threads = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
            highest, count = _status(member.pid)
            peak, threads = max(peak, highest), threads + count
    return max(total, peak), threads


def disk_usage(folder: Path, enough: int) -> int:
    """Bytes on disk in a folder with all its sub-folders, a block for each name at least.

    Stops counting above `enough`: a folder may hold millions of names. What hides its contents, a
    folder that cannot be listed or that lies too deep for a path, counts as more than enough.
    """
    total, waiting = 0, [folder]
    while waiting and total <= enough:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        total += max(4096, 512 * getattr(facts, "st_blocks", 0))
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
                    if total > enough:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return enough + 1
    return total


def nameless_usage(members: Iterable[psutil.Process], folder: Path, enough: int) -> int:
    """Bytes on disk of files that have no name any more, but are open in one of the processes.

    One that is mapped and not open does not say how large it is: in `folder`, it counts as more
    than enough.
    """
    found: dict[tuple[int, int], int] = {}
    for member in members:
        # Each thread may have a table of open files of its own.
        tasks = f"/proc/{member.pid}/task"
        for task in names(tasks):
            for file in names(f"{tasks}/{task}/fd"):
                with contextlib.suppress(OSError):
                    facts = os.stat(f"{tasks}/{task}/fd/{file}")
                    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                        found[facts.st_dev, facts.st_ino] = 512 * facts.st_blocks
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{member.pid}/maps").read_bytes()
            gone = [line for line in maps.splitlines() if line.endswith(b" (deleted)")]
            if any(os.fsencode(folder) + b"/" in line for line in gone):
                return enough + 1
    return sum(found.values())


def _status(pid: int) -> tuple[int, int]:
    """The kernel's own record of what a process holds at most, and of its threads now.

    Resident pages at their peak, page tables, and what was swapped out, in bytes.

    Zeros where there is none.
    """
    found = {b"VmHWM": 0, b"VmPTE": 0, b"VmSwap": 0, b"Threads": 0}
    with contextlib.suppress(OSError, ValueError):
        # Bytes: a process chooses its name, which stands in here too.
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            name, _, value = line.partition(b":")
            if name in found:
                found[name] = int(value.split()[0])
    held = found[b"VmHWM"] + found[b"VmPTE"] + found[b"VmSwap"]
    return 1024 * held, found[b"Threads"]
