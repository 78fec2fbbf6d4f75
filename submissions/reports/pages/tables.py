"""A table that is a part of a page, and a file beside it: CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from challenge.submissions.text import no_formula, one_line


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number it is sorted by and written to CSV as."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first one of a row names it."""

    name: str
    """Of its files, without a suffix."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, which stand at the right."""
        cells = [row[column] for row in self.rows]
        known = [cell for cell in cells if cell.text]
        return bool(known) and all(cell.value is not None for cell in known)

    def csv(self) -> str:
        """Numbers in full. No text begins as a formula of a spreadsheet does."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([no_formula(each) for each in self.columns])
        for row in self.rows:
            writer.writerow(
                [no_formula(cell.text) if cell.value is None else cell.value for cell in row]
            )
        return buffer.getvalue()

    def markdown(self) -> str:
        """As GitHub reads it; no text of a cell is markup there."""
        right = [self.numeric(column) for column in range(len(self.columns))]
        lines = [
            _line([_literal(each) for each in self.columns]),
            "|" + "|".join("---:" if each else "---" for each in right) + "|",
            *(_line([_literal(cell.text) for cell in row]) for row in self.rows),
        ]
        return "\n".join(lines) + "\n"


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """A row of a table; a `str` is a cell without a number."""
    return tuple(each if isinstance(each, Cell) else Cell(each) for each in cells)


def number(value: float | None, digits: int, *, sign: bool = False) -> Cell:
    """A number with so many digits; empty where there is none."""
    if value is None:
        return Cell("")
    return Cell(f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}", value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _literal(text: str) -> str:
    marks = r"\`*_{}[]<>()+!|~$"
    # What looks like an address or a name would be a link without any mark.
    words = one_line(text).replace("&", "&amp;").replace("@", "&#64;").replace("://", "&#58;//")
    words = words.replace("www.", "www&#46;")
    return "".join(f"\\{each}" if each in marks else each for each in words)
