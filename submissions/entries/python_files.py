"""The Python files of an entry, parsed and never run; and the method that the config names."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from packaging.utils import canonicalize_name

from challenge.configs import spelling
from challenge.configs.schema.challenge import Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.methods import syntax
from challenge.submissions.entries import archive, imports, packages
from challenge.submissions.entries.archive import Members
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.layout import CONFIG, PLUGIN

LONGEST_SOURCE, ALL_SOURCES = 200_000, 2_000_000
"""Bytes of the largest Python file of a plugin, and of all. The tree of a hostile file takes 900
times its bytes and 9 seconds a megabyte."""
MOST_IMPORTS = 50
"""How many imports are listed."""


def classes(
    file: zipfile.ZipFile,
    members: Members,
    spoilt: Collection[str],
    config: EntryConfig | None,
    rules: Rules | None,
    shown: str,
    problems: list[Violation],
) -> dict[str, set[str]]:
    """The names of the classes in every Python file; what is wrong comes into the list.

    Wrong are files that are too long or not Python, and imports that the judge does not have.
    Files in `spoilt`, of which it is said already what is wrong, count as there, with any class.
    """
    found: dict[str, set[str]] = {name: set() for name in members if name.startswith(f"{PLUGIN}/")}
    there = {**found, **{name: set() for name in spoilt if name.startswith(f"{PLUGIN}/")}}
    files = imports.Files(there, _root(config, there))
    bytes_left, imports_left = ALL_SOURCES, MOST_IMPORTS
    for name in found:
        place, info = f"{shown}/{name}", members[name]
        source = archive.read_small(file, info, min(LONGEST_SOURCE, bytes_left))
        if source is None:
            cause = (
                f"has {info.file_size:,} bytes, a Python file at most {LONGEST_SOURCE:,}, "
                f"all together {ALL_SOURCES:,}"
            )
            remedy = "keep data in the method's buffers"
            problems.append(Violation("invalid_entry", place, cause, remedy))
            continue
        bytes_left -= len(source)
        try:
            tree = syntax.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f"{place}:{line}" if line else place
            deep = isinstance(error, RecursionError | MemoryError)
            said = "it is nested too deeply" if deep else getattr(error, "msg", None) or error
            cause = f"is not Python: {said}"
            problems.append(Violation("invalid_entry", where, cause, "correct it, then pack again"))
            continue
        found[name] = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        refused = imports.problems(tree, name, files, rules, shown)
        new = list(islice(refused, imports_left))
        problems += new
        imports_left -= len(new)
        if not imports_left and next(refused, None):
            cause = "has more imports that cannot work, which are not listed"
            problems.append(Violation("invalid_entry", place, cause, "correct those that are"))
    return {**there, **found}


def _root(config: EntryConfig | None, files: Collection[str]) -> str:
    """The folder that is the plugin's package: that of the method's file."""
    name = config.method.get("name") if config else None
    source = name.partition(":")[0] if isinstance(name, str) else ""
    return source.rpartition("/")[0] if source in files else PLUGIN


def unknown_method(
    config: EntryConfig, classes: Mapping[str, set[str]], rules: Rules | None, shown: str
) -> Iterator[Violation]:
    """What is wrong with the method's name, and with those of the methods that its knobs are.

    It must be a word of the table, a class of a file that is in the entry, or a method of an
    installed package that the rules permit.
    """
    from challenge.methods import registry

    place = f"{shown}/{CONFIG}"
    for key, section in registry.sections(config.method):
        name = section.get("name")
        if isinstance(name, str):
            yield from _unknown(name, classes, rules, place)
        else:
            yield Violation("invalid_entry", place, f"`{key}.name` is missing", PACK_AGAIN)


def _unknown(
    name: str, classes: Mapping[str, set[str]], rules: Rules | None, place: str
) -> Iterator[Violation]:
    from challenge.methods import plugin, registry

    if plugin.is_plugin(name):
        source, _, wanted = name.partition(":")
        if source not in classes:
            yield Violation("invalid_entry", place, f"`{source}` is not in the entry", PACK_AGAIN)
        elif wanted and classes[source] and wanted not in classes[source]:
            cause = f"`{source}` has no class `{wanted}`"
            listed = f"classes: {', '.join(sorted(classes[source]))}"
            remedy = spelling.did_you_mean(wanted, classes[source], listed)
            yield Violation("invalid_entry", place, cause, remedy)
    elif name not in registry.METHODS:
        unknown = registry.unknown(name)
        owner = registry.provider(name) or ""
        if unknown:
            yield Violation("invalid_entry", place, *unknown)
        elif rules and canonicalize_name(owner) not in packages.listed(rules):
            cause = f"the method `{name}` is of the package `{owner}`, which is not permitted"
            remedy = (
                f"ask the organiser to list it, `rules.packages: [{owner}]`, or put its files "
                "into a folder and name them, `path/method.py:Class`"
            )
            yield Violation("invalid_entry", place, cause, remedy)
