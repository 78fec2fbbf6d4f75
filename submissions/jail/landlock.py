"""Which files a jailed process may open: an allow-list in the kernel, installed by itself.

Landlock, landlock(7), Linux 5.13 or newer; needs no privileges. What it does not cover: names,
sizes and times of files outside the list (`stat`), and changes of their modes, which the filter
of system calls takes away. Free of everything but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Collection, Iterable, Iterator

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_ALL_OF_FIRST = (1 << 13) - 1
READ = _READ_FILE | _READ_DIR
WRITE = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
"""The rights that a rule for a single file may have."""


def version() -> int:
    """The version of Landlock's interface; 0 where there is none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return max(0, int(libc.syscall(_CREATE, None, 0, _VERSION)))
    except (OSError, AttributeError):
        return 0


def restrict(
    readable: Iterable[str],
    writable: Iterable[str],
    excluded: Collection[str],
    *,
    listed: Iterable[str] = (),
    files: Iterable[str] = (),
    network: bool = True,
    signals: bool = True,
) -> None:
    """Allow this process these files only, from now on, for good.

    `no_new_privs` must be set, and there must be one thread only.

    Args:
        readable: files and folders with all that is in them; what does not exist is left out.
        writable: folders in which files may be made, changed and removed, and device files.
        excluded: files and folders within `readable` that stay closed, by their real paths.
        listed: folders in which names are seen: Python looks for packages by listing folders.
        files: single files, or links to them, that are readable.
        network: whether TCP and abstract UNIX sockets are closed too, where the kernel can.
        signals: whether signals to others are stopped too, where the kernel can.

    Raises:
        OSError: the kernel has no Landlock.
    """
    abi = version()
    handled = _ALL_OF_FIRST
    handled |= _REFER if abi >= 2 else 0
    handled |= _TRUNCATE if abi >= 3 else 0
    handled |= _IOCTL if abi >= 5 else 0
    ports = 3 if network else 0
    scopes = (1 if network else 0) | (2 if signals else 0)
    described = struct.pack("=QQQ", handled, ports if abi >= 4 else 0, scopes if abi >= 6 else 0)
    described = described[: 8 if abi < 4 else 16 if abi < 6 else 24]
    closed = frozenset(excluded)
    around = frozenset(parent for each in closed for parent in _parents(each))
    rules = _call(_CREATE, described, len(described), 0)
    try:
        for path in readable:
            for part, rights in _parts(os.path.realpath(path), closed, around):
                _allow(rules, part, rights & handled)
        for path in listed:
            _allow(rules, path, _READ_DIR & handled)
        for path in files:
            if os.path.isfile(path):
                _allow(rules, path, _READ_FILE & handled)
        for path in writable:
            _allow(rules, path, WRITE & handled)
        _call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _parts(
    real: str, excluded: Collection[str], around: Collection[str]
) -> Iterable[tuple[str, int]]:
    """What to allow in order to allow `real` without what is excluded in it.

    The names in a folder with something excluded can still be listed: Python looks for packages
    by listing folders.
    """
    if real in excluded:
        return
    if real not in around:
        yield real, READ
        return
    yield real, _READ_DIR
    for name in sorted(os.listdir(real)):
        child = os.path.join(real, name)
        # The target of a link has its own place, in the list or not.
        if not os.path.islink(child):
            yield from _parts(child, excluded, around)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        _call(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
