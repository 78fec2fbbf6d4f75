"""Words of strangers, shown without harm: names in an entry, what its code prints and answers."""

from __future__ import annotations

import unicodedata

from challenge.configs.escaping import escape

LONGEST = 1000
"""Characters of a line: an entry may hold names of any length."""


def harmless(text: bytes) -> str:
    """Decode, and escape every character that could act on a terminal or hide something.

    Line ends and tabs stay; a carriage return, an escape sequence, or a mark that turns the
    direction of writing appears as `\\r`, `\\x1b`, `\\u202e`.
    """
    decoded = text.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    return escape(decoded, lambda each: each in "\n\t" or unicodedata.category(each)[0] != "C")


def one_line(value: object, longest: int = LONGEST) -> str:
    """A value in at most `longest` characters on one line.

    What is not printable, line ends of every kind too, is escaped.
    """
    try:
        text = str(value)[:longest]
    except RecursionError:
        return "something too deep to be shown"
    return escape(text)[:longest]
