"""What processes hold on disk: in the folder that is theirs, and in files without a name."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from challenge.submissions.jail.family import names
from challenge.submissions.jail.syscalls import number

_SAME_FILES = 2
"""kcmp's KCMP_FILES: whether two threads share one table of open files."""
_TICK = 20_000_000
"""Nanoseconds: the times of files are no finer than a tick of the kernel, 10 ms at most."""


class Moved(Exception):
    """Names changed while they were counted: what has another name by now was perhaps missed."""


def folder_usage(folder: Path, enough: int, *, still: bool = False) -> int:
    """Bytes on disk in a folder with all its sub-folders, a block for each name at least.

    Stops counting above `enough`: a folder may hold millions of names. What hides its contents, a
    folder that cannot be listed or that lies too deep for a path, counts as more than enough.

    Args:
        still: whether nobody can rename anything now, so that what is gone is gone.

    Raises:
        Moved: names changed meanwhile, and it is not `still`.
    """
    total, waiting = 0, [folder]
    seen: list[tuple[Path, tuple[int, int]]] = []
    while waiting and total <= enough:
        place = waiting.pop()
        try:
            if not still:
                seen.append((place, _version(place)))
            with os.scandir(place) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        if not still:
                            raise
                        continue
                    total += max(4096, 512 * getattr(facts, "st_blocks", 0))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    if total > enough:
                        break
        except (FileNotFoundError, NotADirectoryError) as error:
            if not still:
                raise Moved from error
        except OSError:
            return enough + 1
    if total <= enough and not still:
        _unchanged(seen)
    return total


def _version(folder: Path) -> tuple[int, int]:
    """Changes whenever a name in a folder does: which folder it is, and when that was."""
    facts = folder.lstat()
    return facts.st_ino, facts.st_mtime_ns


def _unchanged(seen: Iterable[tuple[Path, tuple[int, int]]]) -> None:
    """Raises `Moved` if a folder is not what it was, or was changed so lately that it may be."""
    now = time.time_ns()
    for place, before in seen:
        try:
            same = _version(place) == before
        except OSError:
            same = False
        if not same or 0 <= now - before[1] < _TICK:
            raise Moved


def nameless_usage(
    processes: Iterable[int], folder: Path, enough: int, *, still: bool = False
) -> int:
    """Bytes on disk of files that have no name any more, but are open in one of the processes.

    One that is mapped and not open does not say how large it is: in `folder`, it counts as more
    than enough.

    Args:
        still: whether nobody can open or close anything now.

    Raises:
        Moved: descriptors were opened or closed meanwhile, and it is not `still`.
    """
    found: dict[tuple[int, int], int] = {}
    for process in processes:
        for table in _tables(process):
            listed = names(table)
            if not still and _miscounted(table, len(listed)):
                raise Moved
            for file in listed:
                try:
                    facts = os.stat(f"{table}/{file}")
                except FileNotFoundError:
                    if not still and os.path.exists(table):
                        raise Moved from None
                    continue
                except OSError:
                    continue
                if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                    found[facts.st_dev, facts.st_ino] = 512 * facts.st_blocks
            # One that went from a late number to an early one meanwhile stood in no list.
            if not still and names(table) != listed and os.path.exists(table):
                raise Moved
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{process}/maps").read_bytes()
            gone = [line for line in maps.splitlines() if line.endswith(b" (deleted)")]
            if any(os.fsencode(folder) + b"/" in line for line in gone):
                return enough + 1
    return sum(found.values())


def _miscounted(table: str, count: int) -> bool:
    """Whether so many are not all open files of a table: a list may be read past one that moves.

    The kernel says how many there are since Linux 6.2, and 0 before.
    """
    try:
        known = os.stat(table).st_size
    except OSError:
        return False
    return known not in (0, count)


def _tables(process: int) -> list[str]:
    """The folders of open files of a process: of each thread that does not share its first's.

    Hundreds of threads that share hundreds of files would take seconds to count.
    """
    tasks = f"/proc/{process}/task"
    return [
        f"{tasks}/{task}/fd"
        for task in names(tasks)
        if int(task) == process or not _share_files(process, int(task))
    ]


def _share_files(one: int, other: int) -> bool:
    """Whether two threads share their open files; no where the kernel does not tell."""
    kcmp = number("kcmp", os.uname().machine)
    return kcmp is not None and _libc().syscall(kcmp, one, other, _SAME_FILES, 0, 0) == 0


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
