"""The board: a pure function from verdicts, rules and teams to rows. Free of torch and numpy.

One row a team: its latest valid entry counts, or its best one where the rules say so. What failed,
came late or was one too many does not count, and says why. Baselines stand among the rows where
they belong, one each, and have no rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from challenge.configs.schema.challenge import AmendableRules, Limits
from challenge.data.challenges.rules import shown
from challenge.submissions.entries.teams import BASELINE, Teams
from challenge.submissions.judging.copies import alike
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.result_files import SHORT

PSNR_DIGITS, SSIM_DIGITS = 4, 6
"""Scores that agree to so many decimals are equal: they share a rank."""


@dataclass(frozen=True)
class Row:
    """One line of the board; scores are None where the entry has none."""

    rank: int | None
    """None where the entry does not count, and of baselines; equal scores share a rank."""
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
    """Entries of this team; of a baseline, under this name."""
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
    main: bool
    """The one row of its team, or a baseline; False: another entry, which `everything` shows."""
    counts: bool
    """Whether it stands in the ranking, where baselines have no rank."""
    baseline: bool
    outdated: str
    """`limits` or `rules of the check`, where it was not judged by those that hold; else empty."""
    doubts: tuple[str, ...]
    """What a reader must know of this entry: the time it came, the time it had."""
    alike: tuple[str, ...]
    """Entries of other teams that are the same, with who was first."""


@dataclass(frozen=True)
class Basis:
    """What rows are made by, beside verdicts."""

    rules: AmendableRules
    """Deadline, entries a day, and which entry counts."""
    teams: Teams | None = None
    """Entries of teams that are not in the list do not count."""
    challenge: str | None = None
    """Leaves out verdicts on any other preparation of the challenge."""
    limits: Limits | None = None
    """Those that hold: of several verdicts on an entry, one that was made by them goes first."""
    sights: Mapping[str, Sight] | None = None
    """The register of first sight, by the entries' hashes."""


def rows(
    results: Iterable[Result],
    rules: AmendableRules,
    teams: Teams | None = None,
    challenge_hash: str | None = None,
    *,
    limits: Limits | None = None,
    sights: Mapping[str, Sight] | None = None,
    everything: bool = False,
) -> list[Row]:
    """The board's rows: those that count, then those that do not, then all other entries.

    Args:
        results: verdicts, in any order.
        rules, teams, challenge_hash, limits, sights: as `Basis` says.
        everything: also the entries that are not their team's one row.
    """
    basis = Basis(rules, teams, challenge_hash, limits, sights or {})
    newest = _newest(results, basis)
    notes = _notes(newest, basis)
    said = alike(newest, basis.sights or {})
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in newest:
        team = result.entry.team
        # What nobody's name can be read from is not of one team.
        alone = result.entry.name if team == BASELINE else "" if team else result.entry.hash
        groups[team, alone].append(result)
    found = [_team(group, notes, said, basis) for group in groups.values()]
    counting = sorted((group[0] for group in found if group[0].counts), key=_order)
    failed = sorted((group[0] for group in found if not group[0].counts), key=_by_name)
    others = sorted((row for group in found for row in group[1:]), key=_by_name)
    return [*_ranked(counting), *failed, *(others if everything else ())]


def remarks(rows: Sequence[Row]) -> list[str]:
    """What a reader of the board must know about how its rows were judged, a line each."""
    counting = [row for row in rows if row.counts]
    said = []
    open_rows = [row for row in counting if row.isolation == "process"]
    if open_rows:
        said.append(
            f"judged without isolation ({_share(open_rows, counting)}): the entries' code could "
            "read files and use the network of the judging machine"
        )
    for what in ("limits", "rules of the check"):
        if old := [row for row in counting if row.outdated == what]:
            said.append(
                f"judged by other {what} than hold now ({_share(old, counting)}): score these "
                "entries again"
            )
    if len({row.judge for row in counting}) > 1:
        said.append(
            "not all rows were judged alike (toolkit, limits, isolation or repeat differ): score "
            "all entries again for a fair comparison"
        )
    return said


def rule(rules: AmendableRules) -> str:
    """Which entries count, in one line."""
    when = f"; deadline {shown(rules.deadline)}" if rules.deadline else ""
    return (
        f"of each team its {rules.counts} valid entry counts (`rules.counts`), of at most "
        f"{rules.entries_per_day} a day, days in UTC{when}"
    )


def _share(some: Sequence[Row], of: Sequence[Row]) -> str:
    return "all" if len(some) == len(of) else f"{len(some)} of {len(of)}"


def _newest(results: Iterable[Result], basis: Basis) -> list[Result]:
    """One verdict on each entry, in the order in which the entries were received.

    The last one; but one that was made by the limits that hold goes before any other: they may
    have been changed, and changed back.
    """
    limits = basis.limits and basis.limits.model_dump(mode="json")
    last: dict[tuple[str, str], Result] = {}
    ordered = sorted(results, key=lambda each: (each.judge.limits == limits, each.judged_at))
    for result in ordered:
        challenge = result.challenge.hash
        if basis.challenge in (None, challenge):
            last[result.entry.hash, challenge] = _dated(result, basis)
    return sorted(last.values(), key=lambda each: (_time(each), each.entry.hash))


def _dated(result: Result, basis: Basis) -> Result:
    """A verdict with the time of the register."""
    sight = (basis.sights or {}).get(result.entry.hash)
    return result.model_copy(update={"received": sight.received}) if sight else result


def _notes(results: Sequence[Result], basis: Basis) -> dict[str, str]:
    """Why entries do not count, by hash. A failed entry uses up no part of a day's number."""
    rules, teams = basis.rules, basis.teams
    notes: dict[str, str] = {}
    valid: dict[tuple[str, str], int] = defaultdict(int)
    for result in results:
        identity, team = result.entry.hash, result.entry.team
        if result.outcome != "ok":
            notes[identity] = f"failed: {result.outcome}"
        if team == BASELINE:
            continue
        if not team:
            notes[identity] = "nothing in it says whose it is"
        elif teams is not None and team not in teams.teams:
            notes[identity] = "not in the list of teams"
        elif rules.deadline is not None and _time(result) > rules.deadline:
            notes[identity] = "after the deadline"
        elif result.outcome == "ok":
            day = team, _time(result).date().isoformat()
            valid[day] += 1
            if valid[day] > rules.entries_per_day:
                notes[identity] = f"more than {rules.entries_per_day} entries that day (UTC)"
    return notes


def _team(
    group: Sequence[Result],
    notes: Mapping[str, str],
    said: Mapping[str, tuple[str, ...]],
    basis: Basis,
) -> list[Row]:
    """One team's rows, its entries being in the order received: first the one that it shows."""
    counting = [each for each in group if each.entry.hash not in notes]
    best = basis.rules.counts == "best"
    if counting:
        main = max(counting, key=_scores) if best else counting[-1]
    else:
        scored = [each for each in group if each.outcome == "ok"]
        main = (scored or group)[-1]
    found = []
    for result in (main, *(each for each in reversed(group) if each is not main)):
        note = notes.get(result.entry.hash, "")
        if result is not main and not note:
            note = f"a {'better' if best else 'later'} entry counts"
        row = _row(result, note, said.get(result.entry.hash, ()), basis)
        found.append(replace(row, main=result is main, entries=len(group)))
    if not counting:
        return found
    last = group[-1].entry.hash
    note = f"a later entry did not count ({notes[last]})" if last in notes else ""
    return [replace(found[0], counts=True, note=note), *found[1:]]


def _row(result: Result, note: str, said: tuple[str, ...], basis: Basis) -> Row:
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
        main=True,
        counts=False,
        baseline=entry.team == BASELINE,
        outdated=result.outdated(basis.limits, basis.rules) if basis.limits else "",
        doubts=tuple(_doubts(result, basis)),
        alike=said,
    )


def _doubts(result: Result, basis: Basis) -> Iterable[str]:
    sight, deadline = (basis.sights or {}).get(result.entry.hash), basis.rules.deadline
    if sight is not None and result.entry.team != BASELINE:
        if sight.doubt:
            yield f"received as it was seen first, {_words(sight.seen)}: {sight.doubt}"
        elif deadline and _time(result) <= deadline < datetime.fromisoformat(sight.seen):
            yield f"on time by its file's date alone: seen first {_words(sight.seen)}"
    if result.in_doubt and result.load is not None:
        yield (
            f"failed by the clock while other programs took {result.load.foreign:.0%} of its "
            "cores: `challenge score --rejudge-timeouts` judges it again"
        )


def _ranked(ordered: Sequence[Row]) -> list[Row]:
    """Number the rows of teams; equal scores share the first one's rank."""
    found: list[Row] = []
    last: Row | None = None
    for row in ordered:
        if row.baseline:
            found.append(row)
            continue
        place = 1 + sum(not each.baseline for each in found)
        tied = last is not None and _rounded(last) == _rounded(row)
        last = replace(row, rank=last.rank if tied and last else place)
        found.append(last)
    return found


def _rounded(row: Row) -> tuple[float, float]:
    return round(row.psnr or 0, PSNR_DIGITS), round(row.ssim or 0, SSIM_DIGITS)


def _order(row: Row) -> tuple[Any, ...]:
    """Best first; within a tie the faster, then the earlier one."""
    psnr, ssim = _rounded(row)
    return -psnr, -ssim, row.seconds or 0, row.received, row.team, row.name


def _by_name(row: Row) -> tuple[Any, ...]:
    return row.team, row.received, row.name, row.entry


def _scores(result: Result) -> tuple[float, float]:
    assert result.psnr and result.ssim
    return result.psnr.mean, result.ssim.mean


def _time(result: Result) -> datetime:
    return datetime.fromisoformat(result.received).astimezone(UTC)


def _words(moment: str) -> str:
    return shown(datetime.fromisoformat(moment))
