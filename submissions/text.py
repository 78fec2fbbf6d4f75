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
    return escape(_text(value)[:longest])[:longest]


def one_sentence(value: object, longest: int = LONGEST) -> str:
    """As `one_line`, for words of several lines: each run of white space is one space."""
    return one_line(" ".join(_text(value).split()), longest)


def _text(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "something too deep to be shown"
