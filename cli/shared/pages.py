"""Pages that open from disk, and what lies beside them: written, and told of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.submissions.reports.standing import Standing


def expect_html(path: Path, usual: str) -> None:
    """Refuse what no page can be written to, before the work that leads to it.

    Raises:
        UserError: it is no name of an HTML file, or a folder.
    """
    from challenge.configs.errors import UserError

    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        cause = "is a folder" if path.is_dir() else "is not the name of a page"
        raise UserError.of(os.fspath(path), cause, f"give a file such as `{usual}`")


def write_board(
    board: Standing, html: Path | None, figures: Path | None, *, everything: bool
) -> None:
    """Write a board's page, and its figures and tables as files of their own, where wanted."""
    from challenge.cli.shared.console import say
    from challenge.data import atomic
    from challenge.submissions.reports import board_page, page_files

    view = board_page.view(board, everything=everything)
    if html is not None:
        atomic.write_text(html, board_page.html(view))
        say(f"wrote {html}")
    if figures is not None:
        written = page_files.write(figures, view.figures, board_page.tables(view))
        say(f"wrote {len(written)} files in {figures}")
