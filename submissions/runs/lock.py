"""Who works on a run: a lock of the kernel's, which ends with the process that holds it.

The file `.locks/NAME` beside a run is locked while its owner works on it, and says who that is.
A file that nobody locks means nothing: its owner is gone, however it ended. Where the system or
the file system has no such locks, nothing is locked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from challenge.configs.errors import UserError
from challenge.data import atomic

TRIES, PAUSE = 5, 0.02
"""Somebody who only looks whether a run is locked holds it for a moment."""


@contextmanager
def held(file: Path, place: Path, doing: str) -> Iterator[None]:
    """Be the only one who works on something.

    Args:
        file: that is locked, such as `Run.lock`.
        place: what is worked on, such as the run's folder, for the message.
        doing: what is done to it, in the passive: `trained`.

    Raises:
        UserError: somebody else works on it; says who.
    """
    with atomic.disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("a+b")
    with opened:
        for _ in range(TRIES):
            if _lock(opened):
                break
            time.sleep(PAUSE)
        else:
            raise UserError.of(place, f"is being {_words(opened)}", "wait for its end, or end it")
        me = {"doing": doing, "process": os.getpid(), "host": socket.gethostname()}
        with atomic.disk_errors(file):
            opened.truncate(0)
            opened.write(json.dumps(me).encode())
            opened.flush()
        yield


def holder(file: Path) -> str | None:
    """What is done to it and by whom, `trained by process 12 on HOST`; None: nobody holds it."""
    try:
        with file.open("rb") as opened:
            return None if _lock(opened) else _words(opened)
    except OSError:
        return None


def _lock(file: BinaryIO) -> bool:
    """Whether the lock is ours; true as well where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _words(file: BinaryIO) -> str:
    try:
        file.seek(0)
        found = json.loads(file.read())
        return f"{found['doing']} by process {found['process']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "worked on by another process"
