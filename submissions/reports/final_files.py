"""The folder of the last day: the page, every score of every image, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions.judging import image_scores, parts
from challenge.submissions.judging.counting import Basis, newest
from challenge.submissions.judging.parts import Part
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.result_files import SHORT
from challenge.submissions.judging.reveal import Revealed
from challenge.submissions.reports import board_page, final_page, page_files
from challenge.submissions.reports.pages.figures import Drawing
from challenge.submissions.reports.pages.tables import Table
from challenge.submissions.reports.standing import gather


@dataclass(frozen=True)
class Built:
    """What the folder will hold, and what the page says in a sentence."""

    verdict: str
    page: str
    scores: str
    figures: tuple[Drawing, ...]
    tables: tuple[Table, ...]


def build(
    place: Workspace, challenge: Challenge, results: list[Result], revealed: Revealed
) -> Built:
    """Make all that is written; the same verdicts give the same bytes.

    Args:
        place: the organiser's workspace.
        results: verdicts on this preparation of the challenge.
        revealed: when the final part was unlocked, or will have been.
    """
    hidden = place.hidden(challenge.config.name)
    share = challenge.config.rules.final_share
    board = gather(place, challenge, results, "final" if share else None, revealed)
    before = gather(place, challenge, results, "public", revealed) if share else None
    labels = {each.entry.hash[:SHORT]: each.entry.label for each in results}
    final, view = final_page.view(board, before, hidden, labels, revealed)
    of: dict[str, Part] = {}
    if share:
        split = parts.split(hidden.ids(), hidden.key.read_bytes(), share)
        of = {each: part for part, ids in split.items() for each in ids}
    config = challenge.config
    verdicts = newest(results, Basis(config.rules, None, challenge.hash, config.limits))
    ranked = {row.entry for row in board.counting}
    scores = image_scores.text(verdicts, board.known, of, ranked)
    return Built(
        verdict=final.verdict,
        page=final_page.page(final, view),
        scores=scores,
        figures=view.figures,
        tables=tuple(board_page.tables(view)),
    )


def write(folder: Path, built: Built) -> list[tuple[Path, str]]:
    """Write the folder: paths, each with a word for it."""
    page, table, figures = folder / "final.html", folder / "scores.csv", folder / "figures"
    atomic.write_text(page, built.page)
    atomic.write_text(table, built.scores)
    page_files.write(figures, built.figures, built.tables)
    return [(page, "page"), (table, "scores"), (figures, "figures")]
