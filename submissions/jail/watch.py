"""What a judged process may hold, watched from outside: memory, threads and disk.

The kernel's own limits count what is reserved by one process; here counts what all of them hold.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from challenge.submissions.jail import disk, memory
from challenge.submissions.jail.processes import Tree
from challenge.submissions.jail.spawn import THREADS

PACE, EASY = 0.01, 0.05
"""Seconds between two looks at memory, whatever else there is to look at: near the limit, and at
most, while it is far."""
FASTEST = 20e9
"""Bytes a second that nobody takes faster; waking up costs more than looking."""
WHOLE = 0.1
"""After so many seconds a look reads the whole record: peak, page tables, threads."""
SELDOM, OFTEN = 1.0, 0.05
"""At most and at least so many seconds between two looks for new processes, and at the disk."""
SHARE = 0.002
"""Of a core, that each of those may take, within these bounds: an entry that computes on all cores
waits for the slowest of its threads."""


class Watch:
    """Samples memory and disk of a tree; kills it when it exceeds a limit.

    Three threads: one looks at the memory of the processes that are known, one for new processes,
    one at the disk. An entry can make much to count of processes and files; what it holds in
    memory meanwhile must be seen all the same.

    Args:
        tree: the processes.
        process: the first of them.
        limit: bytes of memory.
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
        self.headless = False
        self.fault: Exception | None = None
        """Why it could not look any more: then it knows nothing."""
        self.quota = quota
        self._folder = folder.resolve()
        self._records = memory.records([process.pid], {})
        self._finding, self._counting = threading.Lock(), threading.Lock()
        self._tree, self._process, self._limit, self._ended = tree, process, limit, ended
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(target, *arguments), daemon=True)
            for target, arguments in (
                (self._look_steadily, ()),
                (self._repeat, (self._find,)),
                (self._repeat, (self._count,)),
            )
        ]
        for each in self._threads:
            each.start()

    def sample(self) -> None:
        """Look once, at all; kills the tree if it uses too much."""
        self._find()
        self._look()
        self._count()

    def ran_out(self) -> bool:
        """Whether the kernel ended it for want of memory, as far as that can be known."""
        return self.peak > self._limit / 2 or self._tree.ran_out()

    def close(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()
        self._records = {}

    def _find(self) -> None:
        """Find out which processes there are."""
        with self._finding:
            self._records = memory.records(self._tree.members(), self._records)

    def _look(self, *, briefly: bool = False) -> int:
        """Look at the memory of the processes that are known; the bytes that they hold."""
        held = memory.together(self._records.values(), briefly=briefly)
        self.peak = max(self.peak, held.now, held.peak)
        before = self.exceeded, self.crowded, self.headless
        self.exceeded |= self.peak > self._limit
        self.crowded |= held.threads > THREADS
        self.headless |= held.headless
        if (self.exceeded, self.crowded, self.headless) != before:
            self._tree.kill()
        return held.now

    def _count(self) -> None:
        """Look at the disk."""
        if self.full:
            return
        with self._counting:
            try:
                used = self._used()
            except disk.Moved:
                # Who gives its files other names all the time is not seen but by chance.
                with self._tree.held_still():
                    used = self._used(still=True)
        if used > self.quota:
            self.full = True
            self._tree.kill()

    def _used(self, *, still: bool = False) -> int:
        """Bytes on disk, as far as the quota reaches."""
        used = disk.folder_usage(self._folder, self.quota, still=still)
        if used > self.quota:
            return used
        return used + disk.nameless_usage(self._records, self._folder, self.quota, still=still)

    def _guarded(self, loop: Callable[..., None], *arguments: Callable[[], None]) -> None:
        """Run a loop; an entry that nobody watches may not go on."""
        try:
            loop(*arguments)
        except Exception as error:
            self.fault = error
            self._tree.kill()

    def _look_steadily(self) -> None:
        pause, whole = PACE, 0.0
        while not self._stop.wait(pause):
            now = time.monotonic()
            briefly = now < whole
            if not briefly:
                whole = now + WHOLE
            held = self._look(briefly=briefly)
            pause = due(held, self._limit)
            if self._process.poll() is not None:
                self._ended()
                return

    def _repeat(self, look: Callable[[], None]) -> None:
        """Look again and again, within a share of a core; by its time, not by that of others."""
        pause = PACE
        while not self._stop.wait(pause) and self._process.returncode is None:
            began = time.thread_time()
            look()
            pause = min(SELDOM, max(OFTEN, (time.thread_time() - began) / SHARE))


def due(held: float, limit: float) -> float:
    """Seconds until memory must be looked at again, held and limited in bytes."""
    return min(EASY, max(PACE, (limit - held) / FASTEST))
