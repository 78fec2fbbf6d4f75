"""Pages that open from disk, and what lies beside them: written, and told of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.submissions.reports.standing import Standing


def write_board(
    board: Standing, html: Path | None, files: Path | None, *, everything: bool
) -> None:
    """Write a board's page, and its figures and tables as files of their own, where wanted."""
    from challenge.cli.shared.console import say
    from challenge.data import atomic
    from challenge.submissions.reports import board_page, page_files

    view = board_page.view(board, everything=everything)
    if html is not None:
        atomic.write_text(html, board_page.html(view))
        say(f"wrote {html}")
    if files is not None:
        written = page_files.write(files, view.figures, board_page.tables(view))
        say(f"wrote {len(written)} files in {files}")
