"""Time and size against the limits of the judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from challenge.data.challenges.challenge import Challenge
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import COLOURS, INK, Drawing, label
from challenge.submissions.reports.pages.tables import Cell, Table, number, row
from challenge.submissions.reports.presentation.items import Figure, Item, Listing, Section, absent
from challenge.submissions.reports.presentation.subjects import Subject


def section(subjects: Sequence[Subject], challenge: Challenge) -> Section:
    """The chapter."""
    compared = [each.compared for each in subjects if each.compared is not None]
    items = list[Item]()
    if compared:
        items.append(Figure("Time for the whole test set", _bars(compared, challenge)))
        items.append(Listing("Within the limits", _table(compared, challenge)))
    if without := [each.name for each in subjects if each.compared is None]:
        names = ", ".join(label(name, 40) for name in without)
        items.append(absent(f"Nothing was measured of: {names}."))
    return Section("time", "Time", tuple(items))


def projected(each: Compared, challenge: Challenge) -> float:
    """Seconds that the test set would take on the machine that reconstructed val."""
    return each.start_up + challenge.test.count * each.seconds


def _bars(compared: Sequence[Compared], challenge: Challenge) -> Drawing:
    limit = 60 * challenge.config.limits.minutes
    seconds = [projected(each, challenge) for each in compared]

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        for place, value in enumerate(seconds):
            colour = COLOURS[1] if value > limit else COLOURS[0]
            axis.barh(place, value, color=colour, height=0.6)
            _beside(axis, f"{value:.0f} s", (value, place), 5)
        axis.axvline(limit, color=INK, linestyle="--", linewidth=1.4)
        _beside(axis, f"limit {limit:.0f} s", (limit, -0.62), -5)
        axis.set_yticks(range(len(compared)), [label(each.candidate.name) for each in compared])
        axis.set_ylim(len(compared) - 0.4, -0.9)
        axis.set_xlim(0, 1.15 * max(limit, *seconds))
        axis.set_xlabel(f"seconds for {challenge.test.count} images, start included")
        axis.grid(axis="y", visible=False)

    told = "; ".join(
        f"{label(each.candidate.name)} {value:.0f} s"
        for each, value in zip(compared, seconds, strict=True)
    )
    alt = f"Time for the whole test set beside the limit of {limit:.0f} s: {told}."
    caption = "As measured on val on the machine that made the reconstructions, not on the judge's."
    size = (8.0, 1.5 + 0.45 * len(compared))
    return figures.draw("time", alt, paint, caption=caption, size=size)


def _beside(axis: Any, text: str, place: tuple[float, float], shift: int) -> None:
    axis.annotate(
        text,
        place,
        xytext=(shift, 0),
        textcoords="offset points",
        ha="left" if shift > 0 else "right",
        va="center",
        fontsize=10,
        annotation_clip=False,
    )


def _table(compared: Sequence[Compared], challenge: Challenge) -> Table:
    limits = challenge.config.limits
    rows = []
    for each in compared:
        total = projected(each, challenge)
        share = total / (60 * limits.minutes)
        size = each.megabytes / limits.weights_mb
        rows.append(
            row(
                each.candidate.name,
                number(each.start_up, 1),
                number(each.seconds, 2),
                number(total, 0),
                Cell(f"{share:.1%}", share),
                number(each.megabytes, 2),
                Cell(f"{size:.1%}", size),
            )
        )
    columns = (
        "method",
        "start (s)",
        "s an image",
        f"{challenge.test.count} images (s)",
        "of the time",
        "MB",
        "of the size",
    )
    title = f"Limits: {limits.minutes:g} min, {limits.weights_mb:g} MB, {limits.threads} threads"
    return Table("limits", title, columns, tuple(rows))
