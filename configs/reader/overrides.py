"""Puts `key=value` from the command line on top of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from challenge.configs.errors import Mistake
from challenge.configs.reader.parser import KeyPath, Tree, parse, plain, unprintable
from challenge.configs.reader.writer import printable

_INSTEAD: dict[KeyPath, KeyPath] = {
    ("train", "steps"): ("train", "minutes"),
    ("train", "minutes"): ("train", "steps"),
}
"""A budget given on the command line takes the place of the file's other one."""


def apply(tree: Tree, overrides: Iterable[str]) -> list[Mistake]:
    """Change `tree` by each override in turn, the last word wins; return those that failed.

    A key is a path such as `noise.sigma` or `noise.sigma.0`; sections that are missing are made.
    A value in brackets, braces or quotes is YAML, any other is one unquoted scalar.
    """
    _spell_out(tree)
    mistakes = []
    for text in overrides:
        wrong = _apply(tree, text)
        if wrong is not None:
            mistakes.append(Mistake(f"`{printable(text, 80)}`", *wrong))
        _spell_out(tree)
    return mistakes


def _apply(tree: Tree, text: str) -> tuple[str, str] | None:
    if hidden := unprintable(text):
        return f"an unprintable character, {ascii(hidden)[1:-1]}", "take it out"
    dotted, equals, written = text.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(re.fullmatch(r"[^\s:]+", part) for part in parts):
        return "is not of the form `key=value`", "for example `noise.sigma=0.05`"
    given = _value(written.strip())
    if given.faults:
        return given.faults[0].cause, given.faults[0].remedy
    holder: Any = tree.value
    key: KeyPath = ()
    for part in parts[:-1]:
        step = _step(holder, part, key)
        if isinstance(step, tuple):
            return step
        key = (*key, step)
        if isinstance(holder, dict) and holder.get(part) is None:
            holder[part] = {}
            tree.given[key] = text
        holder = holder[step]
    last = _step(holder, parts[-1], key)
    if isinstance(last, tuple):
        return last
    key = (*key, last)
    holder[last] = given.value
    for places in (tree.lines, tree.texts, tree.given):
        for old in [each for each in places if each[: len(key)] == key]:
            del places[old]
    tree.given[key] = text
    tree.texts.update({(*key, *inner): raw for inner, raw in given.texts.items()})
    if key in _INSTEAD and given.value is not None and isinstance(holder, dict):
        other = _INSTEAD[key]
        if other not in tree.given:
            holder.pop(other[-1], None)
    return None


def _step(holder: Any, part: str, key: KeyPath) -> str | int | tuple[str, str]:
    """One step down from `holder`, which stands at `key`; cause and remedy if there is none."""
    if isinstance(holder, dict):
        return part
    name = ".".join(map(str, key))
    if not isinstance(holder, list):
        remedy = f"give it as a whole, `{name}=...`, a section as `'{name}={{KEY: VALUE, ...}}'`"
        return f"`{name}` is not a section", remedy
    if not re.fullmatch(r"[0-9]{1,9}", part) or int(part) >= len(holder):
        count = len(holder)
        return f"`{name}` is a list of {count}", f"count from 0, or give the whole: `{name}=[...]`"
    return int(part)


def _value(written: str) -> Tree:
    if written[:1] in ("[", "{", '"', "'"):
        return parse(written)
    return Tree(plain(written), texts={(): written})


def _spell_out(tree: Tree) -> None:
    """`method: tv` is short for `method: {name: tv}`."""
    if isinstance(tree.value, dict) and isinstance(name := tree.value.get("method"), str):
        tree.value["method"] = {"name": name}
        tree.texts["method", "name"] = tree.texts.get(("method",), name)
