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
_SWITCHES = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/acpi", "/proc/fs")
"""Parts of /proc that change the machine; an owner that is root could write there."""


def installed() -> str | None:
    """The path of `bwrap`, None where it is not installed."""
    return shutil.which("bwrap")


def command(inner: Sequence[str], settings: int) -> list[str]:
    """Start `inner`, a command by paths that are readable, with `settings` from a descriptor.

    Not on the command line, which the process inside may be able to read.
    """
    return [installed() or "bwrap", "--args", str(settings), "--", *inner]


def settings(readable: Iterable[str], scratch: str, excluded: Sequence[str]) -> list[str]:
    """What is seen inside: only `readable`, and `scratch` to write in.

    Args:
        readable: files and folders, at their own places, read-only.
        scratch: the folder that it starts in.
        excluded: files and folders within them that appear empty, by their real paths.
    """
    made = ["--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc"]
    for place in _SWITCHES:
        made += ["--ro-bind-try", place, place]
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
    return [*made, "--bind", scratch, scratch, "--remount-ro", "/", "--chdir", scratch]


def _inside(path: str, folders: Iterable[str]) -> bool:
    """Whether a path lies within one of the folders (and is not that folder)."""
    return any(path.startswith(each.rstrip("/") + "/") for each in folders)
