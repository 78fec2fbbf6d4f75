"""Writes a config as YAML: human order, every default, the same text for equal configs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from challenge.configs.escaping import escape
from challenge.configs.reader.parser import plain
from challenge.configs.schema.section import Section

_BARE = re.compile(r"[A-Za-z./][A-Za-z0-9_./+-]*")
_AMBIGUOUS = re.compile(r"(?i)y|n|yes|no|on|off|\.+")
"""Words that other YAML readers take for something else."""


def dump(config: Section, without: Mapping[str, Any] | None = None) -> str:
    """The resolved YAML text of a config; the loader reads it back to an equal config.

    One line per key: top-level keys and their own keys in block style, what is deeper in flow
    style.

    Args:
        without: keys that are left out, as pydantic's `exclude`: `{"limits": True}`.
    """
    lines = []
    for name, value in config.model_dump(exclude=without and dict(without)).items():
        if isinstance(value, dict) and value:
            lines.append(f"{name}:")
            lines += [f"  {_text(key)}: {flow(inner)}" for key, inner in value.items()]
        else:
            lines.append(f"{name}: {flow(value)}")
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value as one line of YAML.

    Args:
        value: None, bool, int, float, str, datetime, or dicts, lists and tuples of them.

    Raises:
        TypeError: anything else, which no YAML file can have given.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        text = repr(value)
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)
    raise TypeError(f"{type(value).__name__} has no place in a YAML file")


def printable(text: str, limit: int = 60) -> str:
    """`text` on one line for a message: control characters escaped, cut at `limit`."""
    text = escape(text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(text: str) -> str:
    if _BARE.fullmatch(text) and not _AMBIGUOUS.fullmatch(text) and plain(text) == text:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(quoted)}"'
