"""The figures of a board: scores with ties, how stable ranks are, what scores cost, learning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from challenge.submissions.judging.board import Row
from challenge.submissions.reports.pages.figures import (
    FAINT,
    INK,
    PAPER,
    Drawing,
    draw,
    label,
    style_of,
)
from challenge.submissions.reports.standing import Standing, title
from challenge.submissions.scoring.ranking import FEWEST

WIDTH = 5.2
"""Of a figure in inches: two stand side by side on a laptop, and a phone shows one whole."""
MOST = 30
"""Rows of a figure: the first ones."""
NAMED = 14
"""Rows that a legend names."""
STEPS = 24
"""Sizes of blobs: as many shapes are in the file."""
LEAST = 0.005
"""A share of draws below which no blob is drawn."""


def all_of(board: Standing) -> list[Drawing]:
    """The figures for which there is something to draw."""
    made = (scores(board), stability(board), costs(board), learning(board))
    return [each for each in made if each is not None]


def scores(board: Standing) -> Drawing | None:
    """Mean PSNR with its interval, a row each, with the brackets of ties."""
    rows = board.counting[:MOST]
    if not rows:
        return None
    brackets = _brackets(board, rows)

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        for place, row in enumerate(rows):
            _error_bar(axis, row, place, board)
        for each in board.references:
            axis.axvline(each.psnr, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axis.annotate(
                f"{each.name} {each.psnr:.2f}",
                (each.psnr, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=9,
            )
        for column, (letter, first, last) in enumerate(brackets):
            x = 1.02 + 0.035 * column
            where = {"transform": axis.get_yaxis_transform(), "clip_on": False}
            axis.plot([x, x], [first - 0.3, last + 0.3], color=INK, linewidth=2.2, **where)
            axis.text(x, first - 0.42, letter, ha="center", va="bottom", fontsize=9, **where)
        _names(axis, rows)
        axis.set_xlabel("mean PSNR (dB) with its 95 % interval")
        axis.grid(axis="y", visible=False)

    tied = f" {len(brackets)} brackets join those that are not told apart." if brackets else ""
    best = f"{title(rows[0])}, {rows[0].psnr:.2f} dB" if rows[0].psnr is not None else ""
    return draw(
        "scores",
        f"Mean PSNR of {len(rows)} entries with intervals; the best is {label(best, 60)}.{tied}",
        paint,
        caption=_first(board.counting, "Filled marks are teams, hollow ones baselines. ")
        + (
            "A bar at the right joins entries that are not told apart on these images; a wide "
            "interval of a mean says that images differ, not that entries are alike."
        ),
        size=(WIDTH, 1.3 + 0.34 * len(rows)),
    )


def stability(board: Standing) -> Drawing | None:
    """How often each team has each rank, over draws of the images: the area of a blob."""
    rows = [row for row in board.teams if row.entry in board.evidence.places][:MOST]
    count = len(board.teams)
    if len(rows) < 2:
        return None
    size = (WIDTH, 1.1 + 0.34 * len(rows))
    widest = min(0.3, 3.2 / count) * 72

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        # Blobs of one size are one collection, of one shape in the file.
        by_size: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        lines, crosses = list[tuple[int, int]](), list[int]()
        for place, row in enumerate(rows):
            ranks = board.evidence.places[row.entry].ranks
            lines.append(_quantiles(ranks))
            crosses.append(row.rank or 0)
            colour = style_of(board.number[row.team])["color"]
            for rank, share in sorted(ranks.items()):
                if share >= LEAST:
                    by_size[max(1, round(STEPS * share))].append((rank, place, colour))
        axis.hlines(range(len(rows)), *zip(*lines, strict=True), color=FAINT, lw=1.6, zorder=1)
        for step, blobs in sorted(by_size.items()):
            x, y, colours = zip(*blobs, strict=True)
            area = widest**2 * step / STEPS
            axis.scatter(x, y, s=area, c=colours, linewidths=0, zorder=2)
        axis.plot(crosses, range(len(rows)), "+", color=INK, markersize=7, zorder=3)
        _names(axis, rows)
        axis.set_xlim(0.4, count + 0.6)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.set_xlabel("rank")

    first = board.evidence.places[rows[0].entry].ranks.get(1, 0.0)
    return draw(
        "stability",
        f"Ranks of {len(rows)} teams over draws of the images; {label(title(rows[0]), 40)} is "
        f"first in {first:.0%} of them.",
        paint,
        caption=_first(board.teams) + _about_draws(board.evidence.images),
        size=size,
    )


def _about_draws(images: int) -> str:
    """What blobs show, and why they may look decided where rows tie."""
    few = f" On {images} images it calls nothing different." if images < FEWEST else ""
    return (
        "How the ranking comes out on other draws of these images: the area of a blob is the share "
        "of 10,000 draws, with replacement, in which a team has that rank; the line spans 95 % of "
        "them, the cross is its rank here. Draws know these images only, and a blob is about one "
        "team. Ties are of a stricter test, which answers for all pairs of teams together."
        f"{few} So ranks may look decided where teams share a letter: the letter counts."
    )


def costs(board: Standing) -> Drawing | None:
    """PSNR against the time of the whole test set, and against the number of parameters."""
    rows = [row for row in board.counting if row.psnr is not None and row.seconds]
    if not rows:
        return None
    known = [row for row in rows if row.summary and row.summary.parameters is not None]
    limit = board.challenge.config.limits.minutes * 60

    def parameters(row: Row) -> float:
        assert row.summary is not None and row.summary.parameters is not None
        return max(row.summary.parameters, 1)

    def paint(figure: Any) -> None:
        axes = figure.subplots(2 if known else 1, 1, squeeze=False)[:, 0]
        _cloud(axes[0], board, rows, lambda row: row.seconds or 0.0)
        axes[0].axvline(limit, color=INK, linewidth=1)
        axes[0].annotate(
            "limit",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
        )
        axes[0].set_xlabel("seconds for the whole test set")
        axes[0].set_ylabel("mean PSNR (dB)")
        if known:
            _cloud(axes[1], board, known, parameters)
            axes[1].set_xlabel("parameters")
            axes[1].set_ylabel("mean PSNR (dB)")
        _legend(figure, axes[0])

    without = len(rows) - len(known)
    return draw(
        "costs",
        f"Mean PSNR of {len(rows)} entries against their seconds and their parameters.",
        paint,
        caption="Numbers in the weights, settings that were tuned among them; none stand at 1."
        + (f" The first {NAMED} are named." if len(rows) > NAMED else "")
        + (f" Of {without} the verdict does not tell them." if without and known else ""),
        size=(WIDTH, (6.0 if known else 3.2) + _high(min(len(rows), NAMED))),
    )


def learning(board: Standing) -> Drawing | None:
    """PSNR on the tune part over the steps of each training, as the entries carry it."""
    rows = [
        row
        for row in board.counting
        if row.summary and row.summary.curves and "psnr" in row.summary.curves.curves
    ]
    rows = [row for row in rows if len(_curve(row)[0]) > 1]
    if not rows:
        return None

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        for row in rows[:NAMED]:
            steps, values = _curve(row)
            style = _style(board, row) | {"marker": None}
            axis.plot(steps, values, label=label(title(row)), linewidth=1.6, **style)
        ends = [_curve(row)[0][-1] for row in rows[:NAMED]]
        if max(ends) > 10 * min(ends):
            _decades(axis)
        axis.set_xlabel("step of the training")
        axis.set_ylabel("PSNR on tune (dB)")
        _legend(figure, axis)

    more = f" The first {NAMED} of {len(rows)} are shown." if len(rows) > NAMED else ""
    return draw(
        "learning",
        f"Learning curves of {min(len(rows), NAMED)} entries.",
        paint,
        caption="As the entries say it: each on the images that its own training held out (tune), "
        f"not on the test set.{more}",
        size=(WIDTH, 3.2 + _high(min(len(rows), NAMED))),
    )


def _curve(row: Row) -> tuple[Sequence[int], Sequence[float]]:
    assert row.summary is not None and row.summary.curves is not None
    found = row.summary.curves.curves["psnr"]
    return found.steps, found.values


def _style(board: Standing, row: Row) -> dict[str, Any]:
    """Colour, mark and line: of a team always the same, of baselines one colour."""
    if not row.baseline:
        return style_of(board.number[row.team])
    number = [each.name for each in board.counting if each.baseline].index(row.name)
    return style_of(number) | {"color": FAINT, "markerfacecolor": PAPER}


def _error_bar(axis: Any, row: Row, place: int, board: Standing) -> None:
    style = _style(board, row) | {"linestyle": "none"}
    if row.low is not None and row.high is not None:
        axis.plot([row.low, row.high], [place, place], color=style["color"], linewidth=2)
    axis.plot(row.psnr, place, markersize=6.5, **style)


def _cloud(axis: Any, board: Standing, rows: Sequence[Row], x: Callable[[Row], float]) -> None:
    for row in rows[:NAMED]:
        style = _style(board, row) | {"linestyle": "none", "label": label(title(row))}
        axis.plot(x(row), row.psnr, markersize=8, **style)
    rest = rows[NAMED:]
    axis.plot(list(map(x, rest)), [row.psnr for row in rest], ".", color=FAINT, zorder=1)
    _decades(axis)
    for each in board.references:
        axis.axhline(each.psnr, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axis.annotate(
            each.name,
            (0, each.psnr),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=9,
        )


def _decades(axis: Any) -> None:
    """A logarithmic x axis with numbers in words, since a figure of a page has no formulas."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    subs = (1.0,) if high > 50 * low else (1.0, 2.0, 5.0)
    axis.xaxis.set_major_locator(LogLocator(subs=subs))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _number(value: float) -> str:
    """`20`, `50 k`, `1 M`."""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def _legend(figure: Any, axis: Any) -> None:
    """Below the figure, in two columns."""
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)


def _high(names: int) -> float:
    """Inches of a legend of so many names."""
    return 0.2 + 0.22 * -(-names // 2)


def _names(axis: Any, rows: Sequence[Row]) -> None:
    """The rows' names along the y axis, the first at the top."""
    axis.set_yticks(range(len(rows)), [label(title(row)) for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.8)
    axis.tick_params(axis="y", length=0)


def _brackets(board: Standing, rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    """Letter, first and last row of each bracket of ties."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        known = board.evidence.places.get(row.entry)
        for letter in known.ties if known else ():
            found[letter].append(place)
    return [(letter, places[0], places[-1]) for letter, places in found.items()][:MOST]


def _quantiles(ranks: Any) -> tuple[int, int]:
    """The ranks between which 95 % of the draws lie."""
    low = high = 0
    total = 0.0
    for rank, share in sorted(ranks.items()):
        before, total = total, total + share
        if before < 0.025 <= total:
            low = rank
        if before < 0.975 <= total + 1e-9:
            high = rank
    return low, high or max(ranks)


def _first(rows: Sequence[Row], words: str = "") -> str:
    return words + (f"The first {MOST} of {len(rows)}. " if len(rows) > MOST else "")
