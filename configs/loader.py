"""Reads the two kinds of YAML file: finds it, puts overrides on top, validates, explains.

All mistakes of a file are reported at once, each with its line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from challenge.configs.errors import Mistake, UserError
from challenge.configs.paths import find, find_file
from challenge.configs.reader import overrides as on_top
from challenge.configs.reader.parser import KeyPath, parse
from challenge.configs.reader.source import Source, in_order, shown
from challenge.configs.reader.writer import dump, flow, printable
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.entry import EntryConfig
from challenge.configs.schema.section import Section

__all__ = [
    "KeyPath",
    "Source",
    "dump",
    "find",
    "find_file",
    "flow",
    "load_challenge",
    "load_entry",
    "read",
]

LARGEST = 100_000
"""Bytes of the largest file that is read as a config."""

MethodMistakes = Callable[[Source, dict[str, Any]], list[Mistake]]

S = TypeVar("S", bound=Section)


def read(name: str, overrides: Sequence[str] = ()) -> Source:
    """Find and read a YAML file and put `overrides`, each `key=value`, on top; no validation.

    Raises:
        UserError: there is no such file, it is not a YAML file of keys, or an override is wrong.
    """
    source, mistakes = _read(name, overrides)
    if mistakes:
        raise UserError(*in_order(mistakes))
    return source


def load_challenge(
    name: str | Mapping[str, Any], overrides: Sequence[str] = ()
) -> tuple[ChallengeConfig, Source]:
    """Load a challenge.

    Args:
        name: the file's, or what a file would hold: its keys and values.

    Raises:
        UserError: with every mistake of the file and the overrides, in the order of its lines.
    """
    source, mistakes = _read(name, overrides, "challenges")
    if source.tree.keys() & {"method", "train"} and not source.tree.keys() & {"operator", "noise"}:
        named = printable(str(source.tree.get("challenge", "deblur")))
        raise UserError.of(
            shown(source.path),
            "is an entry's config, and a challenge is expected here",
            f"the challenge it is for is `{named}`",
        )
    config, found = _validate(ChallengeConfig, source.tree, source)
    return _checked(config, [*mistakes, *found]), source


def load_entry(
    name: str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    method_mistakes: MethodMistakes | None = None,
) -> tuple[EntryConfig, Source]:
    """Load an entry's config; its `name` is the file's stem where the file gives none.

    Args:
        name: the file's, or what a file would hold: its keys and values. Files that these name
            are then looked for in the current folder, and the entry's name is `config`.
        method_mistakes: finds the mistakes of the `method:` section, which the schema leaves
            raw; called with the section even where the rest of the file is wrong.

    Raises:
        UserError: with every mistake of the file and the overrides, in the order of its lines.
    """
    source, mistakes = _read(name, overrides, "methods")
    if source.tree.keys() & {"operator", "noise"} and "method" not in source.tree:
        raise UserError.of(
            shown(source.path),
            "is a challenge, and an entry's config is expected here",
            "such a file says `challenge: NAME` and `method: {name: tv}`, see `configs/tv.yaml`",
        )
    config, found = _validate(EntryConfig, {"name": source.path.stem} | source.tree, source)
    section = source.tree.get("method")
    if method_mistakes is not None and isinstance(section, dict):
        try:
            mistakes += method_mistakes(source, section)
        except UserError as error:
            mistakes += error.mistakes
    return _checked(config, [*mistakes, *found]), source


def _validate(
    model: type[S], tree: dict[str, Any], source: Source
) -> tuple[S | None, list[Mistake]]:
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, source.explain(error, model=model)


def _checked(config: S | None, mistakes: list[Mistake]) -> S:
    if mistakes or config is None:
        raise UserError(*in_order(mistakes))
    return config


def _read(
    name: str | Mapping[str, Any], overrides: Sequence[str], kind: str | None = None
) -> tuple[Source, list[Mistake]]:
    """The source, and the mistakes that leave something to validate; others are raised."""
    if isinstance(name, str):
        path = find(name, kind)
        tree = parse(_text(path))
    else:
        path = Path("config")
        # Through YAML: the strict reader's checks are those of a file.
        tree = parse(flow(dict(name)))
        tree.lines.clear()
    place = shown(path)
    mistakes = [
        Mistake(
            f"{place}:{fault.line}" if fault.line else place,
            printable(fault.cause, 200),
            printable(fault.remedy, 200),
        )
        for fault in tree.faults
    ]
    if not mistakes and not isinstance(tree.value, dict):
        found = "a list" if isinstance(tree.value, list) else "no keys"
        cause = "is empty" if tree.value is None else f"holds {found}"
        remedy = "lines such as `name: deblur` are expected, with a space after the `:`"
        mistakes.append(Mistake(place, cause, remedy))
    if not isinstance(tree.value, dict):
        raise UserError(*mistakes)
    mistakes += on_top.apply(tree, overrides)
    return Source(path, tree.value, tree), mistakes


def _text(path: Path) -> str:
    place = shown(path)
    try:
        size = os.path.getsize(path)
        # Some files of `/proc`, of no size, never end.
        content = path.read_bytes() if 0 < size <= LARGEST else b""
    except OSError as error:
        cause = f"cannot be read, {error.strerror}"
        raise UserError.of(place, cause, "check its permissions") from error
    if size > LARGEST:
        raise UserError.of(place, f"is too large for a config, {size:,} bytes", "is it the file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError.of(
            f"{place}:{line}", "is not UTF-8 text", "save the file as UTF-8"
        ) from error
