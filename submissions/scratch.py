"""Temporary folders that do not outlive their process by much.

A process that is killed cannot clean up. So a folder's name says whose it is, and whoever makes
the next one removes those of processes that are gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
    sweep()
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{purpose}-"))
    try:
        yield made
    finally:
        remove(made)


def sweep() -> None:
    """Remove folders of processes that are gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*-*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)) and _ours(path):
            remove(path)


def remove(path: Path) -> None:
    """Remove a folder, also one whose parts were made unreadable on purpose."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists() and not path.is_symlink():
        for parent, names, _ in os.walk(path):
            for name in names:
                inner = Path(parent) / name
                if not inner.is_symlink():
                    with contextlib.suppress(OSError):
                        inner.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def _ours(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return os.name != "posix" or facts.st_uid == os.getuid()
