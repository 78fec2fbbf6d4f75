"""The board: a pure function from verdicts, rules and teams to rows. Free of torch and numpy.

One row per team and method. The latest valid entry counts, or the best one where the rules say
so. What failed, came late or was one too many never ranks, is shown below, and says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries.teams import Teams
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.result_files import SHORT

PSNR_DIGITS, SSIM_DIGITS = 4, 6
"""Scores that agree to so many decimals are equal: they share a rank."""


@dataclass(frozen=True)
class Row:
    """One line of the board; scores are None where the entry has none."""

    rank: int | None
    """None where the entry does not count; equal scores share a rank."""
    team: str
    name: str
    psnr: float | None
    ssim: float | None
    low: float | None
    """The 95 % interval of the mean PSNR over images."""
    high: float | None
    seconds: float | None
    """Wall clock of the whole test set."""
    outcome: str
    note: str
    """Why it does not count, or what became of a later entry; else empty."""
    received: str
    entries: int
    """Entries of this team under this name."""
    practice: bool
    """The challenge's images are public: the scores prove nothing."""
    uses: tuple[str, ...]
    """What the team declares: `pretrained`, `external_data`."""
    entry: str
    """The entry's hash, its first 16 hex digits."""
    isolation: str
    """The level at which it was judged: `process`, `landlock` or `bubblewrap`."""
    judge: str
    """The hash of the judge, its first 16 hex digits: rows of one judge were judged alike."""


def rows(
    results: Iterable[Result],
    rules: Rules,
    teams: Teams | None = None,
    challenge_hash: str | None = None,
) -> list[Row]:
    """The board's rows: ranked ones first, then those that do not count.

    Args:
        results: verdicts, in any order.
        rules: deadline, entries per day, and which entry counts.
        teams: entries of teams that are not in the list do not count.
        challenge_hash: leaves out verdicts on any other preparation of the challenge.
    """
    newest = _newest(results, challenge_hash)
    notes = _notes(newest, rules, teams)
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in newest:
        groups[result.entry.team, result.entry.name].append(result)
    found = [_row(group, notes, rules) for group in groups.values()]
    ranked = sorted((row for row in found if row.rank), key=_order)
    others = sorted((row for row in found if not row.rank), key=lambda row: (row.team, row.name))
    return [*_ranked(ranked), *others]


def remarks(rows: Sequence[Row]) -> list[str]:
    """What a reader of the board must know about how its ranked rows were judged, a line each."""
    ranked = [row for row in rows if row.rank]
    said = []
    open_rows = [row for row in ranked if row.isolation == "process"]
    if open_rows:
        which = "all" if len(open_rows) == len(ranked) else f"{len(open_rows)} of {len(ranked)}"
        said.append(
            f"judged without isolation ({which}): the entries' code could read files and use the "
            "network of the judging machine"
        )
    if len({row.judge for row in ranked}) > 1:
        said.append(
            "not all rows were judged alike (toolkit, limits, isolation or repeat differ): score "
            "all entries again for a fair comparison"
        )
    return said


def _newest(results: Iterable[Result], challenge_hash: str | None) -> list[Result]:
    """The last verdict on each entry, in the order in which the entries were received."""
    last: dict[tuple[str, str], Result] = {}
    for result in sorted(results, key=lambda each: each.judged_at):
        challenge = result.challenge.hash
        if challenge_hash in (None, challenge):
            last[result.entry.hash, challenge] = result
    return sorted(last.values(), key=lambda each: (_time(each), each.entry.hash))


def _notes(results: Sequence[Result], rules: Rules, teams: Teams | None) -> dict[str, str]:
    """Why entries do not count, by hash. A failed entry uses up no part of a day's number."""
    notes: dict[str, str] = {}
    valid: dict[tuple[str, str], int] = defaultdict(int)
    for result in results:
        identity, team = result.entry.hash, result.entry.team
        if teams is not None and team not in teams.teams:
            notes[identity] = "not in the list of teams"
        elif rules.deadline is not None and _time(result) > rules.deadline:
            notes[identity] = "after the deadline"
        elif result.outcome == "ok":
            day = team, _time(result).date().isoformat()
            valid[day] += 1
            if valid[day] > rules.entries_per_day:
                notes[identity] = f"more than {rules.entries_per_day} entries that day"
    return notes


def _row(group: Sequence[Result], notes: dict[str, str], rules: Rules) -> Row:
    """The row of one team's entries under one name, in the order received. Rank 1 means: ranks."""
    counting = [each for each in group if each.outcome == "ok" and each.entry.hash not in notes]
    if not counting:
        scored = [each for each in group if each.outcome == "ok"]
        shown = (scored or group)[-1]
        row = _plain(shown, notes.get(shown.entry.hash, ""))
        return replace(row, entries=len(group))
    shown = max(counting, key=_scores) if rules.counts == "best" else counting[-1]
    last, note = group[-1], ""
    if last not in counting:
        reason = notes.get(last.entry.hash) or f"failed: {last.outcome}"
        note = f"a later entry did not count ({reason})"
    return replace(_plain(shown, note), rank=1, entries=len(group))


def _plain(result: Result, note: str) -> Row:
    entry, psnr, ssim, seconds = result.entry, result.psnr, result.ssim, result.seconds
    return Row(
        rank=None,
        team=entry.team,
        name=entry.name,
        psnr=psnr.mean if psnr else None,
        ssim=ssim.mean if ssim else None,
        low=psnr.low if psnr else None,
        high=psnr.high if psnr else None,
        seconds=seconds.total if seconds else None,
        outcome=result.outcome,
        note=note,
        received=result.received,
        entries=1,
        practice=result.challenge.practice,
        uses=tuple(name for name, used in entry.uses if used),
        entry=entry.hash[:SHORT],
        isolation=result.judge.level,
        judge=result.judge.hash[:SHORT],
    )


def _ranked(ordered: Sequence[Row]) -> list[Row]:
    """Number the rows; equal scores share the first one's rank."""
    found: list[Row] = []
    for place, row in enumerate(ordered, 1):
        tied = bool(found) and _rounded(found[-1]) == _rounded(row)
        found.append(replace(row, rank=found[-1].rank if tied else place))
    return found


def _rounded(row: Row) -> tuple[float, float]:
    return round(row.psnr or 0, PSNR_DIGITS), round(row.ssim or 0, SSIM_DIGITS)


def _order(row: Row) -> tuple[Any, ...]:
    """Best first; within a tie the faster, then the earlier one."""
    psnr, ssim = _rounded(row)
    return -psnr, -ssim, row.seconds or 0, row.received, row.team, row.name


def _scores(result: Result) -> tuple[float, float]:
    assert result.psnr and result.ssim
    return result.psnr.mean, result.ssim.mean


def _time(result: Result) -> datetime:
    return datetime.fromisoformat(result.received).astimezone(UTC)
