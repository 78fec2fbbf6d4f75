"""Characters that could act on a terminal, break a line or hide something, written out."""

from __future__ import annotations

from collections.abc import Callable


def escape(text: str, shown: Callable[[str], bool] = str.isprintable) -> str:
    """`text` with every character that is not `shown` as `\\n`, `\\x1b`, `\\u202e`.

    YAML and Python read these back in double quotes.
    """
    return "".join(each if shown(each) else each.encode("unicode_escape").decode() for each in text)
