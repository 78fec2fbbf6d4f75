"""Words of strangers, shown without harm: names in an entry, what its code prints and answers."""

from __future__ import annotations

import re
import unicodedata

from challenge.configs.escaping import escape

LONGEST = 1000
"""Characters of a line: an entry may hold names of any length."""
_FORMULA = re.compile(r"""(^|[,;|])(\s*['"]?\s*)(?=[=+\-@＝＋－＠])""")
"""Where a spreadsheet takes a text for a formula: at its beginning, or behind what it takes for the
separator where commas are decimal points."""
_BREAKS = ("Zl", "Zp")
"""Categories of characters that end a line, or a paragraph, for those who know Unicode."""


def harmless(text: str | bytes) -> str:
    """Escape every character that could act on a terminal or hide something; bytes are UTF-8.

    Line ends and tabs stay; a carriage return, an escape sequence, or a mark that turns the
    direction of writing appears as `\\r`, `\\x1b`, `\\u202e`, and what is not UTF-8 as `\\xff`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return escape(text.replace("\r\n", "\n"), lambda each: each in "\n\t" or _stays(each))


def one_line(value: object, longest: int = LONGEST) -> str:
    """A value in at most `longest` characters on one line.

    What is not printable, line ends of every kind too, is escaped.
    """
    return escape(_text(value)[:longest])[:longest]


def one_sentence(value: object, longest: int = LONGEST) -> str:
    """As `one_line`, for words of several lines: each run of white space is one space."""
    return one_line(" ".join(_text(value).split()), longest)


def no_formula(text: str) -> str:
    """A text for a cell of CSV: one that a spreadsheet would calculate has an apostrophe before it,
    and what is not printable is written out."""
    return _FORMULA.sub(r"\1\2'", escape(text))


def _stays(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] != "C" and category not in _BREAKS


def _text(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "something too deep to be shown"
