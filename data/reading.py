"""Files of others: their kind and their size are looked at before they are read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from challenge.configs.errors import UserError

RECORD = 64_000_000
"""Bytes of the largest JSON file that is read: a result of thousands of images has a few."""
ARRAYS = 2_000_000_000
"""Bytes of the largest file of arrays: kernels, masks, one measurement."""
CHUNK = 1 << 20
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind(path: Path) -> str:
    """What stands at a path if it is no regular file, `a pipe`; "" for a file. Links are followed.

    Raises:
        OSError: there is nothing, or nothing that may be looked at.
    """
    return _kind(path.stat())


def _kind(facts: os.stat_result) -> str:
    found = KINDS.get(stat.S_IFMT(facts.st_mode), "")
    # To the system they are regular files, of no size, and to read some of them never ends.
    return found or ("a file that the system makes up" if facts.st_dev in _made_up() else "")


@cache
def _made_up() -> frozenset[int]:
    """The devices of file systems that store nothing."""
    places = [Path(each) for each in ("/proc", "/sys")]
    return frozenset(each.stat().st_dev for each in places if each.is_mount())


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open to be read.

    Raises:
        UserError: it is a folder, a pipe, a socket, a device, which would block or never end.
        OSError: it cannot be opened.
    """
    _refuse(path, kind(path))  # a socket cannot be opened, and a device may act
    # A pipe that took its place would wait here for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        _refuse(path, _kind(os.fstat(handle)))
        yield file


def _refuse(path: Path, kind: str) -> None:
    if kind:
        raise UserError.of(path, f"is {kind}, not a file", "give a file")


def bounded(path: Path, largest: int = RECORD) -> bytes:
    """The content of a file that is not larger than that.

    Raises:
        UserError: it is larger, or no file; nothing was read then.
        OSError: it cannot be read.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > largest else file.read(largest + 1)
    check_size(path, max(size, len(content)), largest)
    return content


def check(path: Path, largest: int = ARRAYS) -> None:
    """Refuse what `bounded` would refuse, for a file that a library reads by itself."""
    with opened(path) as file:
        check_size(path, os.fstat(file.fileno()).st_size, largest)


def check_size(path: Path, size: int, largest: int) -> None:
    """Raise `UserError` where a file is too large."""
    if size > largest:
        cause = f"holds {size:,} bytes, at most {largest:,} are read"
        raise UserError.of(path, cause, "is it the right file?")


def copy(file: BinaryIO, target: Path, most: int) -> int:
    """Copy at most so many bytes of an open file into a new one; says how many."""
    copied = 0
    with target.open("xb") as out:
        while copied < most and (piece := file.read(min(CHUNK, most - copied))):
            out.write(piece)
            copied += len(piece)
    return copied
