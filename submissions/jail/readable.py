"""What of this machine an inference process may read, beside its entry and the toolkit's copy.

Python's standard library, the packages of the distributions that are permitted, shared objects.
"""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from challenge.submissions.jail import distributions, libraries, places

Parts = Mapping[str, tuple[str, ...]]
"""Folders, and the names in them that are readable with all that is in them."""


@dataclass(frozen=True)
class Readable:
    """The places, by their real paths."""

    parts: Parts
    libraries: tuple[str, ...]
    """Folders of which shared objects are readable."""
    shown: tuple[str, ...]
    """Files and folders in which all of it lies: what a mount namespace must have."""

    def files(self) -> Iterator[str]:
        """Every file that can be read, but for what Python keeps compiled."""
        for folder, names in self.parts.items():
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isdir(path):
                    for parent, folders, files in os.walk(path):
                        folders[:] = [each for each in folders if each != "__pycache__"]
                        yield from (os.path.join(parent, each) for each in files)
                else:
                    yield path
        for folder in self.libraries:
            yield from libraries.shared_objects(folder)
        yield from libraries.linked()

    def closed(self) -> list[str]:
        """What lies beside the readable names in the folders of Python's modules and packages."""
        roots = tuple(os.path.realpath(each) + os.sep for each in places.modules())
        passed = {str(each) for folder in self.parts for each in Path(folder, "x").parents}
        found = [
            os.path.join(folder, each)
            for folder, names in self.parts.items()
            if (folder + os.sep).startswith(roots) and os.path.isdir(folder)
            for each in {*os.listdir(folder)}.difference(names)
        ]
        # What a link leads to lies elsewhere, and is closed or open there.
        return [each for each in found if each not in passed and not os.path.islink(each)]


@functools.cache
def readable(permitted: frozenset[str] | None) -> Readable:
    """What entries of a challenge may read; it takes a tenth of a second to find out, once.

    Args:
        permitted: the distributions whose packages an entry may use, their names in the one
            normal form; None permits every one that is installed.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for place in map(os.path.realpath, places.standard_library()):
        if os.path.isdir(place):
            parts[place] += [each for each in os.listdir(place) if each not in places.PACKAGES]
        else:
            parts[os.path.dirname(place)].append(os.path.basename(place))
    for place in map(os.path.realpath, places.packages()):
        if permitted is None:
            parts[place] += os.listdir(place)
        else:
            for folder, names in distributions.parts(place, permitted).items():
                parts[folder] += names
    folders = places.library_folders()
    linked = sorted({os.path.dirname(each) for each in libraries.linked()})
    shown = [*places.needed_to_start(), *places.modules(), *folders, *linked]
    found = {folder: _own(folder, names) for folder, names in parts.items()}
    modules = tuple(os.path.realpath(each) + os.sep for each in places.modules())
    for folder in found:
        if not (folder + os.sep).startswith(modules):
            shown += [os.path.join(folder, each) for each in found[folder]]
    return Readable(found, folders, tuple(dict.fromkeys(shown)))


def _own(folder: str, names: list[str]) -> tuple[str, ...]:
    """The names of what lies in a folder, sorted: a link may lead anywhere."""
    return tuple(
        each for each in sorted({*names}) if not os.path.islink(os.path.join(folder, each))
    )
