"""Which shared objects the dynamic linker finds on this machine.

Free of everything but the standard library: the launcher uses it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

CACHE = "/etc/ld.so.cache"
_NAMED = re.compile(rb"/[^\0]+\.so(?:\.\d\w*)*(?=\0)")
SHARED_OBJECT = re.compile(r".+\.so(\.\d\w*)*")
_DEFAULT = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")
"""Where a linker without a cache looks."""


def linked() -> list[str]:
    """The shared objects of the system, by the names under which the linker's cache has them."""
    try:
        with open(CACHE, "rb") as file:
            found = sorted({os.fsdecode(each) for each in _NAMED.findall(file.read())})
    except OSError:
        found = []
    return found or [path for folder in _DEFAULT for path in shared_objects(folder)]


def shared_objects(folder: str) -> Iterator[str]:
    """The shared objects that lie in a folder, and links to those that lie elsewhere."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if SHARED_OBJECT.fullmatch(entry.name) and _leads_to_one(entry):
                yield entry.path


def _leads_to_one(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return entry.is_file()
    # A link to a neighbour is another name of a file that is in the list.
    if "/" not in os.readlink(entry.path):
        return False
    target = os.path.realpath(entry.path)
    return SHARED_OBJECT.fullmatch(os.path.basename(target)) is not None
