"""What stands on a page, as files of their own: figures as SVG and PNG, tables as CSV, Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from challenge.data import atomic
from challenge.submissions.reports.pages.figures import Drawing
from challenge.submissions.reports.pages.tables import Table


def write(folder: Path, drawings: Iterable[Drawing], tables: Iterable[Table]) -> list[Path]:
    """Write them into a folder, which is made; files of the same names are replaced."""
    written = []
    for drawing in drawings:
        for suffix, content in (("svg", drawing.svg.encode()), ("png", drawing.png)):
            written.append(folder / f"{drawing.name}.{suffix}")
            atomic.write_bytes(written[-1], content)
    for table in tables:
        for suffix, text in (("csv", table.csv()), ("md", table.markdown())):
            written.append(folder / f"{table.name}.{suffix}")
            atomic.write_text(written[-1], text)
    return written
