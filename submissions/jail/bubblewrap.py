"""The command that starts a process in namespaces of its own, by bubblewrap.

https://github.com/containers/bubblewrap: mount, process, network, IPC and host name of its own;
no daemon, no privileges where the system allows user namespaces.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence

_SYSTEM = ("/sys/devices/system/cpu",)
_DEVICES = ("/dev/null", "/dev/urandom")


def installed() -> str | None:
    """The path of `bwrap`, None where it is not installed."""
    return shutil.which("bwrap")


def command(
    inner: Sequence[str], readable: Iterable[str], scratch: str, excluded: Sequence[str]
) -> list[str]:
    """Start `inner` seeing only `readable`, and `scratch` to write in.

    Args:
        inner: a command, by paths that are readable.
        readable: files and folders, at their own places, read-only.
        scratch: the folder that it starts in.
        excluded: files and folders within them that appear empty, by their real paths.
    """
    made = [installed() or "bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    made += ["--proc", "/proc"]
    for device in _DEVICES:
        made += ["--dev-bind", device, device]
    bound = sorted({path for each in readable for path in (each, os.path.realpath(each))})
    for path in [*bound, *_SYSTEM]:
        if not _inside(path, bound):
            made += ["--ro-bind-try", path, path]
    for path in sorted(excluded):
        if not _inside(path, bound):
            continue
        if os.path.isdir(path):
            made += ["--tmpfs", path, "--remount-ro", path]
        else:
            made += ["--ro-bind", "/dev/null", path]
    made += ["--bind", scratch, scratch, "--remount-ro", "/", "--chdir", scratch]
    return [*made, "--", *inner]


def _inside(path: str, folders: Iterable[str]) -> bool:
    """Whether a path lies within one of the folders (and is not that folder)."""
    return any(path.startswith(each.rstrip("/") + "/") for each in folders)
