"""Cores for one process alone, among those that judge on a machine: by locks that end with it.

The file of a core is locked by whoever judges on it. Workers of one machine need not know of each
other, and nobody has to hand out cores.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from challenge.submissions import machine

_held: dict[int, int] = {}
"""The cores of this process, and the descriptors of their locked files."""


def folder() -> Path:
    """What the judges of one user on this machine share."""
    made = Path(tempfile.gettempdir()) / f"challenge-judges-{os.getuid()}"
    made.mkdir(mode=0o700, exist_ok=True)
    if made.lstat().st_uid != os.getuid():
        raise PermissionError(f"{made} is somebody else's")
    return made


def claim(count: int) -> list[int]:
    """Have so many cores for this process alone, until it ends; the same ones at every call.

    Returns:
        Their numbers; fewer than `count` where others have them.
    """
    import fcntl

    for number in machine.core_numbers():
        if len(_held) >= count:
            break
        if number in _held:
            continue
        file = os.open(folder() / f"core-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _held[number] = file
        except OSError:
            with contextlib.suppress(OSError):
                os.close(file)
    return sorted(_held)[:count]


@contextlib.contextmanager
def alone(count: int) -> Iterator[None]:
    """So many cores that nobody else here judges on, for this thread and what it starts.

    Where fewer are free, nothing changes: an entry on fewer than its own would be slower for sure.
    """
    if sys.platform != "linux":
        yield
        return
    before, held = os.sched_getaffinity(0), set(_held)
    try:
        if len(mine := claim(count)) == count:
            os.sched_setaffinity(0, mine)
        yield
    finally:
        os.sched_setaffinity(0, before)
        for number in set(_held) - held:
            os.close(_held.pop(number))
