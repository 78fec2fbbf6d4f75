"""The board in a terminal: a line each row where there is room, else two with stacked cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from challenge.cli.shared.columns import folded
from challenge.cli.shared.console import Cell, fits, table
from challenge.cli.shared.format import clock
from challenge.configs.escaping import escape

if TYPE_CHECKING:
    from challenge.submissions.judging.board import Row
    from challenge.submissions.judging.evidence import Evidence, ToNext

NAME = 64
"""Characters of a name; a longer one is cut."""
FOLD = 13
"""Columns of a name in a narrow table: with all numbers it fits into 80."""
FOLD_WIDE = 24
DAYS = 7
"""Days that have a column of their own, the last ones."""

_Line = dict[str, tuple[str, ...]]
"""Of a row, by column: what stands side by side or below each other."""


def show(title: str, rows: Sequence[Row], evidence: Evidence) -> None:
    """Print the rows.

    Args:
        title: of the table; how the rows were judged is put behind it where that is the same.
    """
    levels = {row.isolation for row in rows if row.seconds is not None}
    if len(levels) == 1:
        title += f", isolation {levels.pop()}"
    lines = [_line(row, evidence, isolation=bool(levels)) for row in rows]
    more = {"isolation": bool(levels), "nmse": any(row.nmse is not None for row in rows)}
    wide, narrow = _wide(lines, **more), _narrow(lines, **more)
    columns, body, left = wide if fits(*wide) or not fits(*narrow) else narrow
    table(columns, body, title=title, left=left)


def show_days(rows: Sequence[Row]) -> None:
    """Print how many entries each team handed in on each day, those that failed too."""
    teams = {row.team: row.per_day for row in rows if row.team and not row.baseline}
    days = sorted({day for each in teams.values() for day in each})
    if not days:
        return
    earlier, last = days[:-DAYS], days[-DAYS:]
    before: list[Cell] = ["before"] if earlier else []
    columns: list[Cell] = ["team", *before, *((day[:5], day[5:]) for day in last), "all"]
    body: list[list[Cell]] = []
    for team, counts in sorted(teams.items()):
        sums = [sum(counts.get(day, 0) for day in earlier)] if earlier else []
        sums += [counts.get(day, 0) for day in last]
        name = folded(_name(team), FOLD).split("\n")
        body.append([name, *map(str, sums), str(sum(counts.values()))])
    title = "entries a day (UTC)"
    table(columns, body, title=title, left=("team",))


def _line(row: Row, evidence: Evidence, *, isolation: bool) -> _Line:
    place = evidence.places.get(row.entry)
    rank = "" if row.baseline and row.counts else str(row.rank or "-")
    team, psnr = f"({row.team})" if row.baseline else row.team or "?", row.outcome
    if row.psnr is not None:
        psnr = f"{row.psnr:.2f}"
    return {
        "rank": ((place and place.rank) or rank,),
        "tie": (place.tie if place else "",),
        "team": (_name(team),),
        "method": (_name(row.name),),
        "PSNR": (psnr, _interval(row.low, row.high, 2)),
        "SSIM": (
            f"{row.ssim:.4f}" if row.ssim is not None else "",
            _interval(row.ssim_low, row.ssim_high, 3),
        ),
        "NMSE": (f"{row.nmse:.4f}" if row.nmse is not None else "",),
        "to next": _gap(place.to_next if place else None),
        "time": (clock(row.seconds) if row.seconds is not None else "",),
        "MB": (f"{row.megabytes:.2f} MB",),
        **({"isolation": (row.isolation if row.seconds is not None else "",)} if isolation else {}),
    }


def _gap(gap: ToNext | None) -> tuple[str, ...]:
    if gap is None:
        return ()
    found = gap.difference
    return f"{found.mean:+.2f}", "clear" if gap.clear else "", _interval(found.low, found.high, 2)


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


_Table = tuple[list[Cell], list[list[Cell]], list[Cell]]
"""Columns, rows, and the columns that hold words."""


def _wide(lines: Sequence[_Line], *, isolation: bool, nmse: bool) -> _Table:
    columns: list[Cell] = [
        "rank", "tie", "team", "method", "PSNR (dB) [95 %]", "SSIM [95 %]",
        *(["NMSE"] if nmse else []), "to next (dB) [95 %]", "time", "size",
        *(["isolation"] if isolation else []),
    ]  # fmt: skip
    body: list[list[Cell]] = []
    for line in lines:
        shown = {name: cell for name, cell in line.items() if nmse or name != "NMSE"}
        cells = {name: " ".join(filter(None, cell)) for name, cell in shown.items()}
        names = {name: folded(cells[name], FOLD_WIDE).split("\n") for name in ("team", "method")}
        body.append([*(cells | names).values()])
    return columns, body, ["tie", "team", "method", "isolation"]


def _narrow(lines: Sequence[_Line], *, isolation: bool, nmse: bool) -> _Table:
    method: Cell = ("team", "method")
    columns: list[Cell] = [
        ("rank", "tie"),
        method,
        ("PSNR (dB)", "[95 %]"),
        ("SSIM", "[95 %]", *(["NMSE"] if nmse else [])),
        ("to next (dB)", "[95 %]"),
        ("time", "size", *(["isolation"] if isolation else [])),
    ]
    body: list[list[Cell]] = []
    for line in lines:
        names = [folded(each, FOLD) for each in (*line["team"], *line["method"])]
        gap = line["to next"]
        body.append(
            [
                (*line["rank"], *line["tie"]),
                [part for name in names for part in name.split("\n")],
                line["PSNR"],
                (*line["SSIM"], *(line["NMSE"] if nmse else ())),
                (" ".join(filter(None, gap[:2])), *gap[2:]),
                (*line["time"], *line["MB"], *line.get("isolation", ())),
            ]
        )
    return columns, body, [method]


def _name(text: str) -> str:
    text = escape(text)
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"
