"""Which files in a folder of packages belong to the distributions that an entry may use.

By what each distribution recorded of its files. A name at which all files are permitted stands for
all that is in it; a folder that distributions share, a namespace package for instance, is
permitted name by name.
"""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from challenge.submissions.jail.libraries import SHARED_OBJECT

_METADATA = (".dist-info", ".egg-info")
_COMPILED = "__pycache__"


def parts(folder: str, permitted: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What may be read below a folder of packages: folders, and the names in them.

    A name that no distribution has recorded is not permitted, unless a permitted distribution
    has recorded nothing.

    Args:
        permitted: names of distributions in their one normal form.
    """
    owned: dict[str, bool] = {}
    outside: set[str] = set()
    names = sorted(os.listdir(folder))
    silent = False
    for name in names:
        if not name.endswith(_METADATA):
            continue
        allowed = canonicalize_name(name.rpartition(".")[0].partition("-")[0]) in permitted
        files = _recorded(Path(folder, name), names)
        silent |= allowed and files is None
        for file in [name, *(files or ())]:
            if not file.startswith(("/", "..")):
                owned[file] = owned.get(file, False) or allowed
            elif allowed and SHARED_OBJECT.fullmatch(os.path.basename(file)):
                outside.add(os.path.normpath(os.path.join(folder, file)))
    if silent:
        tops = {each.partition("/")[0] for each in owned}
        owned |= {name: True for name in names if name not in tops and name != _COMPILED}
    found = dict(_readable(folder, owned))
    found.setdefault(folder, ())
    for path in outside:
        place, name = os.path.split(path)
        found[place] = (*found.get(place, ()), name)
    return found


def _recorded(place: Path, names: Collection[str]) -> list[str] | None:
    """The files of a distribution, relative to the folder of packages; None where nobody knows."""
    with contextlib.suppress(OSError):
        record = (place / "RECORD").read_text(encoding="utf-8", errors="surrogateescape")
        return [row[0] for row in csv.reader(record.splitlines()) if row]
    with contextlib.suppress(OSError):
        tops = (place / "top_level.txt").read_text(encoding="utf-8").split()
        return [each for each in names if each.partition(".")[0] in tops]
    return None


def _readable(folder: str, owned: Mapping[str, bool]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Folders, and the names in them that are permitted with all that is in them."""
    inside: dict[str, dict[str, bool]] = defaultdict(dict)
    for path, allowed in owned.items():
        name, _, rest = path.partition("/")
        inside[name][rest] = allowed
    whole = [name for name, rests in inside.items() if all(rests.values())]
    yield folder, tuple(sorted(name for name in whole if name != _COMPILED))
    tag = sys.implementation.cache_tag
    single = [f"{name[:-3]}.{tag}.pyc" for name in whole if name.endswith(".py")]
    if single:
        yield os.path.join(folder, _COMPILED), tuple(single)
    for name, rests in inside.items():
        if name != _COMPILED and any(rests.values()) and not all(rests.values()):
            rests.pop("", None)
            yield from _readable(os.path.join(folder, name), rests)
