"""A control group of its own for a judged process, where this machine lets us make one.

cgroups(7), version 2: as root, or where the system handed a part of the tree to the user, as with
`systemd-run --user --scope`. It ends all its processes at once and, where the group above it shares
that out, counts all their memory, the kernel's too, and how many they are. Where there is none the
judge goes on without: nothing of what a level promises needs it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from challenge.submissions.jail import family

_PREFIX = "challenge-"


class Group:
    """A group; processes that join it stay in it, and so does what they start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def counts_memory(self) -> bool:
        """Whether memory is counted in it, and so can be limited."""
        return (self._folder / "memory.max").exists()

    def limit(self, memory: int, threads: int) -> None:
        """Allow all its processes together so many bytes, nothing of it swapped, and threads."""
        limits = {"memory.max": memory, "memory.swap.max": 0, "pids.max": threads}
        for name, value in {**limits, "memory.oom.group": 1}.items():
            if (self._folder / name).exists():
                _write(self._folder / name, value)

    def join(self, process: int) -> None:
        """Put a process in it, with all that it has started."""
        joined: set[int] = set()
        while new := {process, *family.descendants(process, family.lookup())} - joined:
            for each in new:
                # Whoever has ended meanwhile has started nobody else.
                with contextlib.suppress(ProcessLookupError):
                    _write(self._folder / "cgroup.procs", each)
            joined |= new

    def kill(self) -> None:
        """End all in it at once, whatever they start (Linux 5.14)."""
        with contextlib.suppress(OSError):
            _write(self._folder / "cgroup.kill", 1)

    def ran_out(self) -> bool:
        """Whether the kernel ended them because they, and it for them, held too much memory."""
        with contextlib.suppress(OSError):
            words = (self._folder / "memory.events").read_text().split()
            return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", 0)) > 0
        return False


@contextlib.contextmanager
def group(root: Path | None = None, own: str | None = None) -> Iterator[Group | None]:
    """A group for one judged process, removed at the end; None where there can be none.

    Args:
        root: where the tree of groups is mounted; found out by default.
        own: the path in it of this process's group; the kernel's word by default.
    """
    made = _make(root or _mounted(), own if own is not None else _own())
    try:
        yield Group(made) if made else None
    finally:
        if made:
            _remove(made)


def _make(root: Path | None, own: str) -> Path | None:
    """A new group, in our own or above it: the first in which memory is counted, else the first."""
    if root is None:
        return None
    first: Path | None = None
    here = root / own.strip("/")
    for parent in [here, *here.parents]:
        # Who may not write here may not move a process within it either.
        if not parent.is_relative_to(root) or not os.access(parent / "cgroup.procs", os.W_OK):
            break
        _remove_leftovers(parent)
        made = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            made.mkdir()
        except OSError:
            break
        if (made / "memory.max").exists():
            if first:
                _remove(first)
            return made
        if first or not (made / "cgroup.kill").exists():
            _remove(made)
        else:
            first = made
    return first


def _mounted() -> Path | None:
    """Where version 2 is mounted."""
    for line in family.read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        words, _, about = line.partition(" - ")
        if about.startswith("cgroup2 ") and words.split()[3] == "/":
            return Path(words.split()[4])
    return None


def _own() -> str:
    for line in family.read("/proc/self/cgroup").decode(errors="replace").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def _remove_leftovers(parent: Path) -> None:
    """Remove groups of supervisors that were killed."""
    for each in parent.glob(f"{_PREFIX}*-*"):
        owner = each.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and family.parent(int(owner)) is None:
            _remove(each)


def _remove(made: Path) -> None:
    # Of a process that has just ended it takes a moment until the group is empty.
    for pause in (0, 0.01, 0.1):
        time.sleep(pause)
        try:
            made.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            continue
        return


def _write(path: Path, value: int) -> None:
    place = os.open(path, os.O_WRONLY)
    try:
        os.write(place, str(value).encode())
    finally:
        os.close(place)
