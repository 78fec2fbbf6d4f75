"""Temporary folders that do not outlive their process by much.

A process that is killed cannot clean up. So a folder's name says whose it is, and whoever makes
the next one removes those of processes that are gone. It is locked, too, for as long as its process
lives: where machines or containers share a folder for temporary files, numbers of processes say
nothing of those of others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

_PREFIX = "challenge-"


@contextlib.contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """An empty folder of this process, removed at the end, whatever is in it.

    Args:
        purpose: a word that stands in its name.
    """
    remove_leftovers()
    # Under a name that nobody removes, until it is locked.
    fresh = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}{os.getpid()}-{purpose}-"))
    lock = _locked(fresh)
    made = fresh.rename(fresh.with_name(fresh.name.removeprefix(".")))
    try:
        yield made
    finally:
        remove(made)
        if lock is not None:
            os.close(lock)


def remove_leftovers() -> None:
    """Remove folders of processes that are gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*-*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not _runs(int(owner)) and _ours(path):
            with contextlib.suppress(OSError):
                lock = _locked(path)
                remove(path)
                if lock is not None:
                    os.close(lock)


def remove(path: Path) -> None:
    """Remove a folder, also one that was made so that this fails: unreadable, or endlessly deep."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path) and os.name == "posix":
        # The system's own tools need neither recursion nor whole paths.
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            with contextlib.suppress(OSError):
                subprocess.run([*command, "--", str(path)], check=False, capture_output=True)


def _locked(path: Path) -> int | None:
    """The descriptor of a folder that is locked for this process; None where there are no locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        raise
    except OSError:
        os.close(opened)
        return None
    return opened


def _runs(pid: int) -> bool:
    """Whether a process is there and not only waits for its parent to hear of its end."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _ours(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return os.name != "posix" or facts.st_uid == os.getuid()
