"""Reads YAML text into plain values and remembers the line of every key.

A small, strict part of YAML 1.2 (core schema): mappings, lists and scalars. `1e-3` is a number;
`yes`, `on`, `12:30` and `1_000` are text; a date with a time is a `datetime`. Keys are text.
Duplicate keys, anchors, aliases, tags and several documents are faults, not features.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from challenge.configs.reader import syntax_errors
from challenge.configs.reader.syntax_errors import Fault

KeyPath = tuple[str | int, ...]
"""Keys from the root of a file to a value; a list's elements are counted from 0."""

DEPTH = 30
"""Levels a file may nest; far above any config, far below the interpreter's stack."""

NODES = 2_000
"""Values a file may hold: ten times those of the largest config. It bounds time and memory."""

SHOWN = 80
"""Characters of a key or a name in a fault: there may be many faults, each with a long one."""

EVENTS: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Splits text into YAML events; libyaml's where PyYAML was built with it."""

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)"
    r" ?(Z|[-+][0-9]{2}:?[0-9]{2})?"
)
_WORDS: dict[str, bool | None] = {"": None, "~": None}
for _word, _value in (("null", None), ("true", True), ("false", False)):
    _WORDS |= {_word: _value, _word.capitalize(): _value, _word.upper(): _value}


@dataclass
class Tree:
    """What a text holds, plain values; by key path, where each is from and how it was written."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    given: dict[KeyPath, str] = field(default_factory=dict)
    """The override that gave a key."""
    faults: list[Fault] = field(default_factory=list)


def plain(text: str) -> Any:
    """The value of an unquoted scalar: None, bool, int, float, datetime, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float("nan") if special[1] is None else float(f"{special[1]}inf")
    if moment := _TIMESTAMP.fullmatch(text):
        try:
            return datetime.fromisoformat(f"{moment[1]}T{moment[2]}{moment[5] or ''}")
        except ValueError:  # a month 13: stays text, and the schema says what is wrong
            return text
    return text


def unprintable(text: str) -> str:
    """The first character of `text` that has no place in a config, else nothing."""
    found = _UNPRINTABLE.search(text)
    return found[0] if found else ""


def parse(text: str) -> Tree:
    """Read YAML text. Never raises: what is wrong stands in `faults`."""
    tree = Tree()
    if hidden := unprintable(text):
        line = text[: text.index(hidden)].count("\n") + 1
        tree.faults.append(Fault(line, *_hidden(hidden)))
        return tree
    reader = _Reader(tree)
    try:
        reader.document(yaml.parse(text, Loader=EVENTS))
    except yaml.MarkedYAMLError as error:
        tree.value = None
        tree.faults.append(syntax_errors.explain(error, text.splitlines()))
    except _Unreadable as stop:
        tree.value = None
        tree.faults.append(stop.fault)
    return tree


class _Unreadable(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.cause)
        self.fault = fault


class _Reader:
    """Builds values from YAML events."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.count = 0

    def document(self, events: Iterator[Any]) -> None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    cause = "a second document begins here"
                    raise _Unreadable(Fault(_line(event), cause, "keep one, without `---`"))
            elif isinstance(event, yaml.NodeEvent):
                self.tree.value = self.node(event, events, ())

    def node(self, event: Any, events: Iterator[Any], key: KeyPath) -> Any:
        self.count += 1
        if self.count > NODES:
            raise _Unreadable(Fault(_line(event), f"more than {NODES:,} values", "is it a config?"))
        self.tree.lines.setdefault(key, _line(event))
        anchor = str(event.anchor)[:SHOWN]
        if isinstance(event, yaml.AliasEvent):
            remedy = f'write the value out, or put it in quotes: `"*{anchor}"`'
            self.fault(event, f"an alias, `*{anchor}`, is not supported", remedy)
            return None
        if event.anchor is not None:
            remedy = f"leave out `&{anchor}`, or put the value in quotes"
            self.fault(event, f"an anchor, `&{anchor}`, is not supported", remedy)
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")[:SHOWN]
            remedy = "write the value without it; text stands in quotes"
            self.fault(event, f"a tag, `{tag}`, is not supported", remedy)
        if len(key) > DEPTH:
            raise _Unreadable(Fault(_line(event), f"more than {DEPTH} levels of nesting"))
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, key)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, key)
        self.check(event)
        self.tree.texts.setdefault(key, event.value)
        return event.value if event.style else plain(event.value)

    def mapping(self, events: Iterator[Any], parent: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable(
                    Fault(_line(event), "a key must be a word, not a list or section")
                )
            self.check(event)
            name = event.value
            key = (*parent, name)
            if name in found:
                remedy = f"keep one, the other is in line {self.tree.lines[key]}"
                dotted = ".".join(map(str, key))[:SHOWN]
                self.fault(event, f"`{dotted}` is given twice", remedy)
            else:
                self.tree.lines[key] = _line(event)
            value = self.node(next(events), events, key)
            found.setdefault(name, value)
        return found

    def sequence(self, events: Iterator[Any], parent: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self.node(event, events, (*parent, len(found))))
        return found

    def check(self, event: Any) -> None:
        """An escape such as `\\0` in double quotes hides a character from the first look."""
        if hidden := unprintable(event.value):
            self.fault(event, *_hidden(hidden))

    def fault(self, event: Any, cause: str, remedy: str) -> None:
        self.tree.faults.append(Fault(_line(event), cause, remedy))


def _hidden(character: str) -> tuple[str, str]:
    return f"an unprintable character, {ascii(character)[1:-1]}", "take it out"


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
