"""All chapters of a report, as a page and as a deck, with its figures and tables as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.reports.pages.page import Script, render
from challenge.submissions.reports.pages.page import name as short
from challenge.submissions.reports.presentation import (
    architecture,
    convergence,
    evaluation,
    problem,
    reproduction,
    timing,
    training,
)
from challenge.submissions.reports.presentation.items import (
    Code,
    Item,
    Listing,
    Pictures,
    Section,
    drawings,
    tables,
)
from challenge.submissions.reports.presentation.subjects import Subject, open_methods

BROAD, HIGH = 89.0, 35.0
"""Room for pictures on a slide, in hundredths of its width."""
LINES = 15
"""Of commands or of a method's page on a slide."""
ROWS = 8
"""Of a table on a slide."""


@dataclass(frozen=True)
class Report:
    """What is shown, before it is a page or a deck."""

    title: str
    lead: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Slide:
    """An item of a section, and how its pictures stand."""

    section: str
    item: Item
    columns: int = 1
    side: float = 0.0
    """Width of a picture, in hundredths of the slide's width."""


def make(
    subjects: Sequence[Subject],
    challenge: Challenge,
    *,
    shown: Sequence[tuple[str, str]] = (),
    analyse: bool = True,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Report:
    """Everything that is known of methods; the same input gives the same report.

    Args:
        subjects: as `subjects.gather` found them.
        challenge: of all of them.
        shown: ids of val to show, with reasons; by default those that tell most.
        analyse: count layers, and measure convergence where there is a theorem to hold it against.
        progress: called with a chapter, how many are done, and of how many.
    """
    opened = open_methods(subjects, challenge)
    chapters: dict[str, Callable[[], Section]] = {
        "problem": lambda: problem.section(challenge),
        "architecture": lambda: architecture.section(opened, challenge, analyse=analyse),
        "training": lambda: training.section(opened),
        "evaluation": lambda: evaluation.section(opened, challenge, shown),
        "time": lambda: timing.section(opened, challenge),
        "convergence": lambda: convergence.section(opened, challenge, analyse=analyse),
        "reproduction": lambda: reproduction.section(opened, challenge),
    }
    sections = []
    for done, (chapter, write) in enumerate(chapters.items()):
        progress(chapter, done, len(chapters))
        sections.append(write())
    names = [short(each.name) for each in subjects]
    return Report(
        title=f"{' and '.join([', '.join(names[:-1]), names[-1]]) if names[1:] else names[0]}",
        lead=f"on {challenge.config.name}, {len(challenge.ids('val'))} images of val",
        sections=tuple(each for each in sections if each.items),
    )


def page(report: Report) -> str:
    """The report as one HTML file."""
    return render("report.html", ("sort", "slider", "lens"), title=report.title, report=report)


def deck(report: Report) -> str:
    """The report as slides of 16:9, one idea each, as one HTML file."""
    slides = list(_slides(report))
    return render("slides.html", get_args(Script), title=report.title, report=report, slides=slides)


def _slides(report: Report) -> Iterator[Slide]:
    for section in report.sections:
        for item in section.items:
            if isinstance(item, Pictures):
                yield _arranged(section.title, item)
            elif isinstance(item, Code):
                if not item.long:
                    yield Slide(section.title, _first_lines(item))
            elif not (isinstance(item, Listing) and (item.long or len(item.table.rows) > ROWS)):
                yield Slide(section.title, item)


def _arranged(section: str, item: Pictures) -> Slide:
    """In as many rows as make the pictures largest."""
    count = len(item.shown)
    tall = max(each.photo.height / each.photo.width for each in item.shown)
    below = 2.0 + 1.7 * max(1 + len(each.lines) for each in item.shown)

    def side(rows: int) -> float:
        columns = -(-count // rows)
        return min((BROAD - columns + 1) / columns, ((HIGH + 6) / rows - below) / tall)

    rows = max((1, 2), key=side)
    return Slide(section, item, -(-count // rows), round(side(rows), 2))


def _first_lines(item: Code) -> Code:
    lines = item.text.splitlines()
    if len(lines) <= LINES:
        return item
    return Code(item.title, "\n".join([*lines[: LINES - 1], "…"]))


def write_files(report: Report, folder: Path) -> int:
    """Write every figure as SVG and PNG, every table as CSV and Markdown; how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for drawing in drawings(report.sections):
        atomic.write_text(folder / f"{drawing.name}.svg", drawing.svg)
        atomic.write_bytes(folder / f"{drawing.name}.png", drawing.png)
        written += 2
    for table in tables(report.sections):
        atomic.write_text(folder / f"{table.name}.csv", table.csv())
        atomic.write_text(folder / f"{table.name}.md", table.markdown())
        written += 2
    return written
