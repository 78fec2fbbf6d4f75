"""Characters that could act on a terminal, break a line or hide something, written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def escape(text: str, shown: Callable[[str], bool] = str.isprintable) -> str:
    """`text` with every character that is not `shown` as `\\n`, `\\x1b`, `\\u202e`.

    A byte of a file's name that is not UTF-8 appears as `\\udcff`. YAML and Python read these
    back in double quotes.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if shown(each) else each.encode("unicode_escape").decode() for each in text)


def json_text(value: Any) -> str:
    """Indented JSON in which what is not printable is written out, as `\\u202e`.

    So nothing acts on a terminal that shows it, and a file's name that is not UTF-8 can be written;
    NaN and infinity are refused.
    """
    import json

    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    escaped = (
        each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text
    )
    return "".join(escaped) + "\n"
