"""Which installed packages an entry may import, and which modules they have.

Read from the metadata of what is installed; nothing is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from challenge.configs.schema.challenge import Rules

TOOLKIT = "challenge"
"""The distribution and the module of the toolkit itself."""

_EXTRA = re.compile(r'extra == "([^"]+)"')


def permitted(rules: Rules) -> frozenset[str]:
    """The distributions whose modules an entry may import, their names in the one normal form."""
    return _with_needs((TOOLKIT,), tuple(sys.path)) | listed(rules)


def readable(rules: Rules) -> frozenset[str]:
    """The distributions whose files an entry may read: the permitted ones and what they need."""
    return _with_needs((TOOLKIT, *sorted(rules.packages)), tuple(sys.path))


def listed(rules: Rules) -> frozenset[str]:
    """The distributions that the organiser permits beside the toolkit's own."""
    return frozenset(map(canonicalize_name, rules.packages))


@cache
def providers(module: str, path: tuple[str, ...]) -> frozenset[str]:
    """The installed distributions that have a top-level module; `path` is Python's search path.

    From their metadata: importing, or looking where the module lies, could not tell a package
    from a file that happens to be in the current folder.
    """
    return frozenset(
        canonicalize_name(each.metadata["Name"] or "")
        for each in metadata.distributions(path=list(path))
        if _has(each, module)
    )


def _has(distribution: metadata.Distribution, module: str) -> bool:
    declared = distribution.read_text("top_level.txt")
    if declared and module in declared.split():
        return True
    # Whole text, not line by line: torch alone records 15,000 files.
    record = "\n" + (distribution.read_text("RECORD") or "")
    return bool(re.search(rf"\n{re.escape(module)}(/|\.[^/\n,]*(py|so|pyd),)", record))


@cache
def _with_needs(names: tuple[str, ...], path: tuple[str, ...]) -> frozenset[str]:
    """Distributions and what they need, with what that needs in turn.

    Markers of platform and Python version are not evaluated: what one machine permits, all do.
    """
    found: set[tuple[str, str]] = set()
    todo = [(name, "") for name in names]
    while todo:
        name, extra = todo.pop()
        if (canonicalize_name(name), extra) in found:
            continue
        found.add((canonicalize_name(name), extra))
        distribution = next(iter(metadata.distributions(name=name, path=list(path))), None)
        for needed in _needed(distribution, extra) if distribution else ():
            todo.append((needed.name, ""))
            todo += [(needed.name, canonicalize_name(each)) for each in needed.extras]
    return frozenset(name for name, _ in found)


def _needed(distribution: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    """What a distribution needs; `extra` is one of its extras, or empty."""
    for text in _requires(distribution):
        # Parsing is most of the work, and most texts are of extras that nothing asks for.
        if ("extra" in text.partition(";")[2]) == bool(extra):
            only_with, requirement = _parsed(text)
            if requirement is not None and only_with == extra:
                yield requirement


@cache
def _parsed(text: str) -> tuple[str, Requirement | None]:
    """A requirement, and the extra that it belongs to, if any; None where it is malformed."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return "", None
    only_with = _EXTRA.search(str(requirement.marker))
    return canonicalize_name(only_with[1]) if only_with else "", requirement


def _requires(distribution: metadata.Distribution) -> list[str]:
    """The requirements of a distribution as they are written.

    Read here: the library parses long descriptions too, as mail.
    """
    text = distribution.read_text("METADATA")
    if text is None:
        return distribution.requires or []
    return re.findall(r"^Requires-Dist: *(.*)$", text.partition("\n\n")[0], re.MULTILINE)


def modules(rules: Rules | None, path: tuple[str, ...]) -> Iterator[str]:
    """The top-level modules that an entry may import; `path` is Python's search path."""
    for module, names in _installed(path).items():
        if rules is None or {*map(canonicalize_name, names)} & permitted(rules):
            yield module


@cache
def _installed(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Every top-level module of the environment, and the distributions it is of."""
    return metadata.packages_distributions()
