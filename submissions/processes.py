"""The tree of a judged process: whatever it started, watched and killed together.

On Linux the supervisor adopts orphans (`PR_SET_CHILD_SUBREAPER`), so that a process that forks
twice and starts its own session is still found; elsewhere such a process can escape.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
THREADS = 512
"""More threads than any method needs: each holds memory of the kernel that no limit counts."""
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Adopt orphans of the processes started inside; one such block at a time per process."""
    with _one_at_a_time:
        _subreaper(True)
        try:
            yield
        finally:
            _subreaper(False)


class Tree:
    """A process with all its descendants. Make it inside `adopting()`, before the process runs."""

    def __init__(self, process: subprocess.Popen[bytes], before: set[int]) -> None:
        self._process = process
        self._before = before

    def members(self) -> list[psutil.Process]:
        """All that are alive: the process, its descendants, and orphans adopted from it."""
        roots = []
        with contextlib.suppress(psutil.NoSuchProcess):
            roots.append(psutil.Process(self._process.pid))
        roots += [orphan for orphan in self._orphans() if orphan.pid != self._process.pid]
        found: dict[int, psutil.Process] = {}
        for root in roots:
            found[root.pid] = root
            found.update({child.pid: child for child in descendants(root)})
        return list(found.values())

    def memory(self, among: Iterable[psutil.Process] | None = None) -> tuple[int, int]:
        """Resident bytes of members together, at least the peak of a single one; their threads.

        Args:
            among: members found before; all that are alive now by default. Looking for them takes
                longer than looking at them.
        """
        total = peak = threads = 0
        for member in self.members() if among is None else among:
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
                highest, count = _status(member.pid)
                peak, threads = max(peak, highest), threads + count
        return max(total, peak), threads

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
    lists = [Path(tasks, task, "children") for task in _names(tasks)]
    if not any(each.exists() for each in lists):
        with contextlib.suppress(psutil.Error):
            return parent.children()
        return []
    found = []
    for each in lists:
        with contextlib.suppress(OSError, psutil.Error):
            found += [psutil.Process(int(pid)) for pid in each.read_text().split()]
    return found


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
        held, threads = self._tree.memory(self._members)
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
        for task in _names(tasks):
            for file in _names(f"{tasks}/{task}/fd"):
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


def _names(folder: str) -> list[str]:
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


def _subreaper(on: bool) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
