"""The copy of the toolkit that a jailed process gets.

It sees the toolkit's own Python files, never the folder they come from: that may be a repository
with a workspace in it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_BINARY = getattr(os, "O_BINARY", 0)
LAYERS = ("configs", "data", "methods", "submissions")


def sources() -> Iterator[tuple[str, Path]]:
    """The toolkit's Python files, stubs too: the name within the package, and where it is."""
    for layer in LAYERS:
        # Found, not imported: the layer's folder is its package's only place.
        spec = importlib.util.find_spec(f"challenge.{layer}")
        assert spec is not None and spec.origin is not None
        home = Path(spec.origin).parent
        # The stub of a package says where the names that it hands on come from.
        for path in sorted([*home.rglob("*.py"), *home.rglob("*.pyi")]):
            yield f"{layer}/{path.relative_to(home).as_posix()}", path


@functools.cache
def digest() -> str:
    """SHA-256 over the toolkit's Python files, 16 hex digits: another toolkit has another one."""
    found = hashlib.sha256()
    for name, path in sources():
        content = path.read_bytes()
        found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def copy_toolkit(folder: Path) -> None:
    """Copy the toolkit to `folder/challenge`, with what Python has compiled of it."""
    made: set[str] = set()
    for name, path in sources():
        place, _, file = f"{folder}/challenge/{name}".rpartition("/")
        source, _, _ = str(path).rpartition("/")
        if place not in made:
            os.makedirs(f"{place}/__pycache__", exist_ok=True)
            made.add(place)
        # With its time: a compiled file is valid for a source of that time only.
        _copy(str(path), f"{place}/{file}", timed=True)
        compiled = f"__pycache__/{path.stem}.{sys.implementation.cache_tag}.pyc"
        if path.suffix == ".py" and os.path.exists(f"{source}/{compiled}"):
            _copy(f"{source}/{compiled}", f"{place}/{compiled}")


def _copy(source: str, target: str, *, timed: bool = False) -> None:
    """Copy one of hundreds of small files: every call of the system counts, at every start."""
    place = os.open(source, os.O_RDONLY | _BINARY)
    try:
        facts = os.fstat(place)
        content = os.read(place, facts.st_size + 1)
    finally:
        os.close(place)
    place = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o644)
    try:
        os.write(place, content)
    finally:
        os.close(place)
    if timed:
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
