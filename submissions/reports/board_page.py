"""The board as a page: what each row says in words and numbers, its figures, what did not count.

The same verdicts give the same bytes: nothing on it is of the moment at which it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from challenge.data.challenges.rules import shown
from challenge.submissions.judging.board import Row
from challenge.submissions.judging.evidence import ToNext
from challenge.submissions.reports import board_figures
from challenge.submissions.reports.pages.figures import Drawing
from challenge.submissions.reports.pages.page import render
from challenge.submissions.reports.pages.tables import Cell, Table, row
from challenge.submissions.reports.standing import Reference, Standing

DAYS = 14
"""Days that have a column of their own, the last ones."""


@dataclass(frozen=True)
class Number:
    """One of the large numbers above the table."""

    what: str
    value: str
    more: str = ""


@dataclass(frozen=True)
class Head:
    text: str
    number: bool = True


@dataclass(frozen=True)
class Scored:
    """A number with lines below it, and what it is sorted by."""

    text: str
    more: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class Line:
    """A row of the ranking, or a reference between its rows."""

    kind: str
    """`team`, `baseline` or `reference`."""
    rank: Scored
    ties: tuple[str, ...]
    team: str
    members: str
    method: str
    flags: tuple[str, ...]
    cells: tuple[Scored, ...]


@dataclass(frozen=True)
class Outside:
    """An entry that does not count."""

    team: str
    members: str
    method: str
    outcome: str
    why: tuple[str, ...]
    received: str


@dataclass(frozen=True)
class Block:
    title: str
    rows: tuple[Outside, ...]


@dataclass(frozen=True)
class View:
    """What the template is filled with."""

    heading: str
    lead: str
    numbers: tuple[Number, ...]
    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    figures: tuple[Drawing, ...]
    outside: tuple[Block, ...]
    days: Table | None
    remarks: tuple[str, ...]
    foot: str


def html(found: View) -> str:
    """The page."""
    return render("board.html", ["sort"], title=found.heading, board=found)


def tables(found: View) -> list[Table]:
    """What stands in its tables, for files of their own; references are left out."""
    heads = ("rank", "tie", "team", "members", "method", *(each.text for each in found.heads[3:]))
    ranking = Table(
        name="ranking",
        title=found.caption,
        columns=heads,
        rows=tuple(
            row(
                line.rank.text,
                " ".join(line.ties),
                line.team,
                line.members,
                line.method,
                *(Cell(" ".join((cell.text, *cell.more))) for cell in line.cells),
            )
            for line in found.lines
            if line.kind != "reference"
        ),
    )
    failed = Table(
        name="not-in-the-ranking",
        title="Not in the ranking",
        columns=("team", "method", "outcome", "why", "received"),
        rows=tuple(
            row(each.team, each.method, each.outcome, "; ".join(each.why), each.received)
            for block in found.outside
            for each in block.rows
        ),
    )
    made = [ranking, failed, *([found.days] if found.days else [])]
    return [each for each in made if each.rows]


def view(board: Standing, *, everything: bool = False) -> View:
    """What the page says; arguments as above."""
    config = board.challenge.config
    practice = " (practice)" if board.challenge.practice else ""
    part = {"public": "Public part of the test set", "final": "Final part of the test set"}
    blocks = [("Not in the ranking", board.left_out)]
    if everything:
        blocks.append(("Other entries", board.others))
    return View(
        heading=f"{config.name}{practice}: the board",
        lead=part.get(board.part or "", "Reconstructions of hidden images, judged and compared"),
        numbers=tuple(_numbers(board)),
        caption=(
            "Teams by mean PSNR, then SSIM, with 95 % intervals. Rows that share a letter are not "
            "told apart on these images; rows that share none need not be, either: a row is told "
            "apart from all others where its rank is no range. To next: the difference to the row "
            "below, image by image, clear where it is not chance."
        ),
        heads=tuple(_heads(board)),
        lines=tuple(lines(board)),
        figures=tuple(board_figures.all_of(board)),
        outside=tuple(
            Block(title, tuple(_outside(row, board) for row in rows))
            for title, rows in blocks
            if rows
        ),
        days=days(board.rows),
        remarks=tuple(board.remarks),
        foot=f"Seal {board.challenge.seal[:16]}, rules {board.challenge.standing.digest[:16]}.",
    )


def lines(board: Standing) -> Iterator[Line]:
    """The rows that count, and the references where they stand among them."""
    left = list(board.references)
    for each in board.counting:
        while left and left[0].psnr > (each.psnr or 0.0):
            yield _reference(left.pop(0), board)
        yield _line(each, board)
    if board.counting:
        yield from (_reference(each, board) for each in left)


def days(rows: Sequence[Row]) -> Table | None:
    """How many entries each team handed in on each day, those that failed too."""
    teams = {each.team: each.per_day for each in rows if each.team and not each.baseline}
    known = sorted({day for each in teams.values() for day in each})
    if not known:
        return None
    earlier, last = known[:-DAYS], known[-DAYS:]
    return Table(
        name="days",
        title="Entries of each team by the day on which they were received, in UTC",
        columns=("team", *(["before"] if earlier else []), *last, "all"),
        rows=tuple(
            row(
                team,
                *([_count(sum(counts.get(day, 0) for day in earlier))] if earlier else []),
                *(_count(counts.get(day, 0)) for day in last),
                _count(sum(counts.values())),
            )
            for team, counts in sorted(teams.items())
        ),
    )


def _count(value: int) -> Cell:
    return Cell(str(value) if value else "", float(value) if value else None)


def _numbers(board: Standing) -> Iterator[Number]:
    rules, evidence = board.challenge.config.rules, board.evidence
    yield Number("teams", str(len(board.teams)), "in the ranking")
    handed_in = sum(each.entries for each in board.rows if each.main and not each.baseline)
    failed = len(board.left_out)
    yield Number("entries", str(handed_in), f"{failed} not in the ranking" if failed else "")
    if evidence.images:
        yield Number("images", str(evidence.images), "hidden, the same for all")
    if evidence.resolution is not None:
        yield Number(
            "resolution",
            f"{evidence.resolution:.2g} dB",
            "the smallest difference that 80 of 100 such test sets show",
        )
    if rules.deadline is not None:
        yield Number("deadline", shown(rules.deadline))


def _heads(board: Standing) -> Iterator[Head]:
    yield Head("rank")
    yield Head("tie", number=False)
    yield Head("team, method", number=False)
    yield from (Head(each) for each in ("PSNR (dB)", "SSIM"))
    if _has_nmse(board):
        yield Head("NMSE")
    yield from (Head(each) for each in ("to next (dB)", "time", "size", "parameters"))


def _has_nmse(board: Standing) -> bool:
    return any(each.nmse is not None for each in board.counting)


def _line(each: Row, board: Standing) -> Line:
    place = board.evidence.places.get(each.entry)
    rank = "" if each.baseline else (place.rank if place and place.rank else str(each.rank))
    parameters = each.summary.parameters if each.summary else None
    nmse = [_scored(each.nmse, 4)] if _has_nmse(board) else []
    note = [each.note] if each.note else []
    return Line(
        kind="baseline" if each.baseline else "team",
        rank=Scored(rank, value=float(each.rank) if each.rank else None),
        ties=place.ties if place else (),
        team="baseline" if each.baseline else each.team,
        members=_members(each, board),
        method=each.name,
        flags=(*note, *each.alike, *each.doubts),
        cells=(
            _scored(each.psnr, 2, interval(each.low, each.high, 2)),
            _scored(each.ssim, 4, interval(each.ssim_low, each.ssim_high, 3)),
            *nmse,
            _gap(place.to_next if place else None),
            _time(each),
            Scored(f"{each.megabytes:.2f} MB", (each.isolation,), each.megabytes),
            Scored("" if parameters is None else f"{parameters:,}", value=parameters),
        ),
    )


def _reference(each: Reference, board: Standing) -> Line:
    rest = len(list(_heads(board))) - 4
    return Line(
        kind="reference",
        rank=Scored(""),
        ties=(),
        team=each.name,
        members="",
        method="reference",
        flags=(),
        cells=(_scored(each.psnr, 2), *(Scored("") for _ in range(rest))),
    )


def _members(each: Row, board: Standing) -> str:
    return ", ".join(board.members.get(each.team, ()))


def _outside(each: Row, board: Standing) -> Outside:
    return Outside(
        team=each.team or "?",
        members=_members(each, board),
        method=each.name,
        outcome=each.outcome,
        why=tuple(filter(None, (each.note, each.cause, *each.alike, *each.doubts))),
        received=shown(datetime.fromisoformat(each.received)),
    )


def _scored(value: float | None, digits: int, more: str = "") -> Scored:
    if value is None:
        return Scored("")
    return Scored(f"{value:.{digits}f}", (more,) if more else (), value)


def interval(low: float | None, high: float | None, digits: int) -> str:
    """`[27.1, 28.3]`; empty where there is none."""
    return "" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _gap(gap: ToNext | None) -> Scored:
    if gap is None:
        return Scored("")
    found = gap.difference
    more = filter(None, (interval(found.low, found.high, 2), "clear" if gap.clear else ""))
    return Scored(f"{found.mean:+.2f}", tuple(more), found.mean)


def _time(each: Row) -> Scored:
    if each.seconds is None:
        return Scored("")
    return Scored(f"{each.seconds:,.1f} s", value=each.seconds)
