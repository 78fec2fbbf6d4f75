"""Who works on a challenge or a run: locks of the kernel's, which end with their process.

The file `.locks/NAME` beside it is locked by one who works on it alone, who prepares a challenge or
trains a run, or by many who use it, and says who they are. A file that nobody locks means nothing:
its owner is gone, however it ended. Where the system or the file system has no such locks, nothing
is locked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from challenge.configs.errors import UserError
from challenge.data import atomic

TRIES, PAUSE = 10, 0.02
"""Who looks whether a lock is free holds it for a moment."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a drive without locks says, such as NFS 3 without its daemon."""
_WAIT = "wait for its end, or end it"
_SHOWN = 3


class Taken(UserError):
    """Somebody else holds the lock."""


@contextmanager
def alone(file: Path, place: Path, doing: str) -> Iterator[None]:
    """Be the only one who works on something, and the only one who uses it.

    Args:
        file: that is locked.
        place: what is worked on, for the message.
        doing: what is done to it, in the words of the message: `is being prepared by`.

    Raises:
        Taken: somebody else works on it or uses it; says who.
    """
    with atomic.disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("a+b")
    with opened:
        if not _lock(opened, shared=False):
            raise Taken.of(place, _holders(opened), _WAIT)
        opened.truncate(0)
        _sign(opened, doing)
        yield
        opened.truncate(0)


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Wait for everybody else who takes this turn, however long; then be alone."""
    with atomic.disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("ab")
    # Outside of `disk_errors`: what goes wrong in the block has nothing to do with the lock.
    with opened:
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(opened, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
        yield


@contextmanager
def together(file: Path, place: Path, doing: str) -> Iterator[None]:
    """Use something that nobody may replace meanwhile; as many as like may use it.

    Where the file cannot be made, in a workspace that is not one's own, nothing is locked.

    Raises:
        Taken: somebody works on it alone; says who.
    """
    opened = _open_to_use(file)
    if opened is None:
        yield
        return
    with opened:
        if not _lock(opened, shared=True):
            raise Taken.of(place, _holders(opened), _WAIT)
        if opened.writable():
            _sign(opened, doing)
        yield


def holder(file: Path) -> str | None:
    """What is done and by whom, `is being trained by process 12 on HOST`; None: nobody
    holds it alone."""
    try:
        with file.open("rb") as opened:
            return None if _lock(opened, shared=True) else _holders(opened)
    except OSError:
        return None


def _open_to_use(file: Path) -> BinaryIO | None:
    try:
        file.parent.mkdir(exist_ok=True)
        return file.open("a+b")
    except OSError:
        try:
            return file.open("rb")
        except OSError:
            return None


def _lock(file: BinaryIO, *, shared: bool) -> bool:
    """Whether the lock is ours; true as well where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    # Who has it alone clears what those left who used it before; a reader clears nothing.
    kinds = [fcntl.LOCK_EX] if file.writable() else []
    kinds += [fcntl.LOCK_SH] if shared else []
    for _ in range(TRIES):
        for kind in kinds:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    continue
                return True
            if shared and kind == fcntl.LOCK_EX:
                file.truncate(0)
                fcntl.flock(file, fcntl.LOCK_SH)
            return True
        time.sleep(PAUSE)
    return False


def _sign(file: BinaryIO, doing: str) -> None:
    me = {"doing": doing, "process": os.getpid(), "host": socket.gethostname()}
    file.write(json.dumps(me).encode() + b"\n")
    file.flush()


def _holders(file: BinaryIO) -> str:
    """What is done and by whom: `is being prepared by process 12 on HOST`."""
    found = []
    file.seek(0)
    for line in file.read(100_000).splitlines():
        try:
            held = json.loads(line)
            doing, process, host = str(held["doing"]), int(held["process"]), str(held["host"])
        except (ValueError, KeyError, TypeError):
            continue
        if host != socket.gethostname() or psutil.pid_exists(process):
            found.append(f"{doing} process {process} on {host}")
    found = list(dict.fromkeys(found))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more if found else "is worked on by another process"
