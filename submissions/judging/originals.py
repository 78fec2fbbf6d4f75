"""Where the photographs of the hidden test set lie on this machine, so that they stay closed.

`hidden/<challenge>/sources.json` names the file that each image came from. What cannot be found is
another encoding of the same photograph; a copy of the same bytes can, where entries can read.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.hashing import digest
from challenge.data.layout import Hidden
from challenge.submissions.jail import places
from challenge.submissions.jail.readable import readable

_CODE = {".py", ".pyi", ".pyc", ".so", ".a", ".h", ".hpp", ".cuh", ".cpp", ".txt"}
"""Most files that can be read; no photograph is called like that."""
_SOFTWARE = ("/usr/share", "/usr/lib", "/usr/include", "/usr/local/share", "/usr/local/lib")


def closed(hidden: Hidden, permitted: frozenset[str]) -> list[Path]:
    """The originals of all splits, and what has the content of one of test, by real paths.

    Hard links to them and copies of them are looked for where entries can read. What was moved
    away since, or lies on another machine, is passed over.

    Args:
        hidden: of a challenge.
        permitted: the distributions whose packages entries may read.

    Raises:
        UserError: `sources.json` is damaged.
    """
    named = sources(hidden)
    found = {path for split in named.values() for path in split}
    if found:
        secret = [*named.get("test", ()), *map(hidden.image, hidden.ids()), hidden.key]
        found |= _copies(secret, permitted)
    return sorted(found)


def sources(hidden: Hidden) -> dict[str, list[Path]]:
    """The files that the images of each split came from, by their real paths."""
    try:
        recorded = json.loads(hidden.sources.read_text(encoding="utf-8"))
        names = {split: [str(each) for each in rows.values()] for split, rows in recorded.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError):
        remedy = "restore it from a copy: it says where the photographs lie that must stay closed"
        raise UserError.of(hidden.sources, "is damaged", remedy) from None
    # An older toolkit wrote them down as they were given, seen from where it was called.
    folders = (*hidden.path.resolve().parents[:3], Path.cwd())
    return {
        split: sorted(
            {
                path.resolve()
                for name in paths
                for path in (folder / name for folder in folders)
                if os.path.isfile(path)
            }
        )
        for split, paths in names.items()
    }


def warnings(hidden: Hidden) -> list[str]:
    """What to tell of test photographs that others have, or that entries could have read."""
    remedy = "others have them too, and may pack them; prepare with photographs of your own"
    return [
        f"{folder}: software is installed here, and test images come from it ({count}); {remedy}"
        for folder, count in sorted(_in_software(hidden).items())
    ]


def prints(hidden: Hidden) -> list[tuple[int, str]]:
    """Size in bytes and SHA-256 of what must stay closed: truth, key, photographs of the test set.

    For a machine that has none of them, to find what equals them there: `equal_to`.
    """
    paths = [*sources(hidden).get("test", ()), *map(hidden.image, hidden.ids()), hidden.key]
    return sorted({(path.stat().st_size, digest(path)) for path in paths})


def equal_to(secret: Collection[tuple[int, str]], permitted: frozenset[str]) -> set[Path]:
    """Files that entries can read here and that have the size and SHA-256 of a secret one.

    Whatever they are called: a hard link, which may be called like code, does not show as one.
    """
    sizes = defaultdict(set)
    for size, content in secret:
        sizes[size].add(content)
    found = _by_size(permitted, True)
    same = sizes.keys() & found.keys()
    return {each for size in same for each in found[size] if digest(each) in sizes[size]}


def _in_software(hidden: Hidden) -> dict[Path, int]:
    """Folders of installed software with photographs of the test set, and how many of them."""
    roots = [*places.modules(), *places.library_folders(), *_SOFTWARE]
    roots += [os.path.join(each, "share") for each in (sys.prefix, sys.base_prefix)]
    around = {os.path.realpath(each) for each in roots}
    found: dict[Path, int] = defaultdict(int)
    for path in sources(hidden).get("test", ()):
        if any(str(each) in around for each in path.parents):
            found[path.parent] += 1
    return dict(found)


def _copies(secret: Collection[Path], permitted: frozenset[str]) -> set[Path]:
    """Readable files that are one of the secret ones under another name, or have its content."""
    sizes = defaultdict(set)
    linked = False
    for path in secret:
        facts = path.stat()
        sizes[facts.st_size].add(path)
        # Another name of the same file may look like anything; copies do not look like code.
        linked |= facts.st_nlink > 1
    readable_files = _by_size(permitted, linked)
    found = set()
    for size in sizes.keys() & readable_files.keys():
        contents = {digest(path) for path in sizes[size]}
        found |= {each for each in readable_files[size] if digest(each) in contents}
    return found


@functools.cache
def _by_size(permitted: frozenset[str], code: bool) -> Mapping[int, list[Path]]:
    """The files that entries can read, with or without code, by their sizes."""
    found: dict[int, list[Path]] = defaultdict(list)
    for name in readable(permitted).files():
        if (code or os.path.splitext(name)[1] not in _CODE) and os.path.isfile(name):
            path = Path(name).resolve()
            found[path.stat().st_size].append(path)
    return found
