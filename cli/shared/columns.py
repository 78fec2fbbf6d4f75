"""Fits a table into the terminal: words are wrapped between words, numbers are never broken.

Where even that is too wide, each row is written as lines of its own, `column  value`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

GAP = 2
"""Columns between two columns of a table."""
_PIECE = re.compile(r"[^\s\-_/]*[\-_/]+|[^\s\-_/]+|\s+")
"""Where a text may be broken: at spaces, and behind `-`, `_` and `/`."""


def fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], room: int, left: Sequence[str]
) -> tuple[list[str], list[list[str]], list[int]] | None:
    """Header and cells with line breaks, and the width of each column; None where it is too wide.

    Args:
        columns: their titles, which may have line breaks already.
        rows: cells; those of columns in `left` are words, others numbers that stay whole.
        room: columns of the terminal.
    """
    room -= GAP * (len(columns) - 1)
    widest, least = [], []
    for number, title in enumerate(columns):
        cells = [row[number] for row in rows]
        widest.append(max(map(width, [title, *cells])))
        words = max((width(part) for part in title.split()), default=0)
        inside = max((_longest(cell) for cell in cells), default=0)
        whole = max(map(width, cells), default=0)
        least.append(max(words, inside if title in left else whole))
    if sum(least) > room:
        return None
    sizes = list(widest)
    while sum(sizes) > room:
        # The column that has most to give shrinks, and among equals the first.
        number = max(range(len(sizes)), key=lambda n: (sizes[n] - least[n], -n))
        sizes[number] -= 1
    titles = [wrapped(title, size) for title, size in zip(columns, sizes, strict=True)]
    body = [[wrapped(cell, size) for cell, size in zip(row, sizes, strict=True)] for row in rows]
    return titles, body, sizes


def records(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> str:
    """Every row as lines `column  value`, with an empty line between two rows."""
    titles = [" ".join(title.split()) for title in columns]
    indent = max(map(width, titles)) + GAP
    blocks = []
    for row in rows:
        lines = []
        for title, cell in zip(titles, row, strict=True):
            text = " ".join(cell.split())
            if text:
                value = wrapped(text, max(room - indent, 20)).replace("\n", "\n" + " " * indent)
                lines.append(f"{title.ljust(indent)}{value}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def wrapped(text: str, room: int) -> str:
    """`text` with line breaks where it is wider than `room`; a long piece stays whole."""
    return "\n".join(_wrapped(line, room) for line in text.split("\n"))


def folded(text: str, room: int) -> str:
    """As `wrapped`, and a long piece is broken as well."""
    from rich.cells import chop_cells

    lines = wrapped(text, room).split("\n")
    return "\n".join(part for line in lines for part in chop_cells(line, room) or [""])


def _wrapped(line: str, room: int) -> str:
    if width(line) <= room:
        return line
    lines = [""]
    for piece in _PIECE.findall(line):
        if lines[-1] and width(lines[-1] + piece.rstrip()) > room:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(lines).rstrip()


def width(text: str) -> int:
    """Columns of the widest line; a Chinese letter takes two."""
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _longest(text: str) -> int:
    return max((width(piece) for piece in _PIECE.findall(text) if piece.strip()), default=0)
