"""Let Python pass over packages that an entry may not read, as if they were not installed.

Their names can be seen in the folder of packages, and a library that asks for one of them in vain,
as many do for what they need at times, takes a refusal to open it for a fault. What is closed is
decided by the kernel; this only says so in Python's own words.

Free of everything but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import machinery
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib import metadata
    from types import ModuleType


class ReadableModules:
    """Python's finder of modules in folders, without those that cannot be read."""

    invalidate_caches = staticmethod(machinery.PathFinder.invalidate_caches)

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> machinery.ModuleSpec | None:
        spec = machinery.PathFinder.find_spec(name, path, target)
        # What lies in a package that has an `__init__.py` is as readable as that.
        if spec is None or isinstance(path, list) or _can_be_read(spec):
            return spec
        return None

    @staticmethod
    def find_distributions(*arguments: Any, **keywords: Any) -> Iterator[metadata.Distribution]:
        for each in machinery.PathFinder.find_distributions(*arguments, **keywords):
            if any(each.read_text(name) is not None for name in ("METADATA", "PKG-INFO", "")):
                yield each


def _can_be_read(spec: machinery.ModuleSpec) -> bool:
    if spec.origin is None:
        # A folder without `__init__.py`: it is a package for what is in it.
        return any(_names(folder) for folder in spec.submodule_search_locations or ())
    try:
        os.close(os.open(spec.origin, os.O_RDONLY))
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _names(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


def pass_over() -> None:
    """Find modules and distributions in this way from now on."""
    sys.meta_path[:] = [
        ReadableModules if each is machinery.PathFinder else each for each in sys.meta_path
    ]
