"""The board: a pure function from verdicts, rules and teams to rows. Free of torch and numpy.

One row a team: its latest valid entry counts, or its best one where the rules say so. What failed,
came late or was one too many does not count, and says why. Baselines stand among the rows where
they belong, one each, and have no rank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from challenge.configs.schema.challenge import AmendableRules, Limits
from challenge.data.challenges.rules import shown
from challenge.submissions.entries.summary import Summary
from challenge.submissions.entries.teams import BASELINE, Teams
from challenge.submissions.judging.copies import alike
from challenge.submissions.judging.counting import Basis, images_of, newest, received_at, why_not
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.result_files import SHORT
from challenge.submissions.text import one_sentence

CAUSE = 400
"""Characters of the cause of a failure."""
BETTER = "an entry that was better on the public part counts"
NONE = (float("-inf"), float("-inf"))
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
    ssim_low: float | None
    """The same of SSIM."""
    ssim_high: float | None
    seconds: float | None
    """Wall clock of the whole test set."""
    megabytes: float
    """The entry's file, in units of 1,000,000 bytes."""
    outcome: str
    cause: str
    """What became of an entry that failed, on one line; else empty."""
    note: str
    """Why it does not count, or what became of a later entry; else empty."""
    received: str
    entries: int
    """Entries of this team; of a baseline, under this name."""
    per_day: Mapping[str, int]
    """The same by the day, in UTC, on which they were received: `2026-12-01`."""
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
    nmse: float | None
    """Of images stored as floats, else None; no rank depends on it."""
    summary: Summary | None = field(repr=False)
    """Method, parameters, training and its curves, where the verdict tells them."""
    images: Mapping[str, float] = field(repr=False)
    """PSNR of every image, by its id, sorted; empty where the entry has none."""


def rows(
    results: Iterable[Result],
    rules: AmendableRules,
    teams: Teams | None = None,
    challenge_hash: str | None = None,
    *,
    limits: Limits | None = None,
    sights: Mapping[str, Sight] | None = None,
    revealed: datetime | None = None,
    choose: Iterable[Result] | None = None,
    everything: bool = False,
) -> list[Row]:
    """The board's rows: those that count, then those that do not, then all other entries.

    Args:
        results: verdicts, in any order.
        rules, teams, challenge_hash, limits, sights, revealed: as `Basis` says.
        choose: the verdicts whose scores say which entry is a team's best, where others than those
            that are shown: on the last day, those on the public part.
        everything: also the entries that are not their team's one row.
    """
    basis = Basis(rules, teams, challenge_hash, limits, sights or {}, revealed)
    verdicts = newest(results, basis)
    notes = why_not(verdicts, basis)
    said = alike(verdicts, basis.sights)
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in verdicts:
        team = result.entry.team
        # What nobody's name can be read from is not of one team.
        alone = result.entry.name if team == BASELINE else "" if team else result.entry.hash
        groups[team, alone].append(result)
    chosen = verdicts if choose is None else newest(choose, basis)
    scores = {each.entry.hash: _scores(each) for each in chosen if each.psnr and each.ssim}
    better = "a better entry counts" if choose is None else BETTER
    found = [_team(group, notes, said, basis, scores, better) for group in groups.values()]
    ranking = sorted((group[0] for group in found if group[0].counts), key=_order)
    failed = sorted((group[0] for group in found if not group[0].counts), key=_by_name)
    others = sorted((row for group in found for row in group[1:]), key=_by_name)
    return [*_ranked(ranking), *failed, *(others if everything else ())]


def _team(
    group: Sequence[Result],
    notes: Mapping[str, str],
    said: Mapping[str, tuple[str, ...]],
    basis: Basis,
    scores: Mapping[str, tuple[float, float]],
    better: str,
) -> list[Row]:
    """One team's rows, its entries being in the order received: first the one that it shows.

    Args:
        scores: by which the best entry is chosen, by the entries' hashes.
        better: what is said of an entry that another one goes before by them.
    """
    counting = [each for each in group if each.entry.hash not in notes]
    best = basis.rules.counts == "best"
    days = Counter(received_at(each).date().isoformat() for each in group)
    per_day = dict(sorted(days.items()))
    if counting:
        main = (
            max(counting, key=lambda each: scores.get(each.entry.hash, NONE))
            if best
            else counting[-1]
        )
    else:
        scored = [each for each in group if each.outcome == "ok"]
        main = (scored or group)[-1]
    found = []
    for result in (main, *(each for each in reversed(group) if each is not main)):
        note = notes.get(result.entry.hash, "")
        if result is not main and not note:
            note = better if best else "a later entry counts"
        row = _row(result, note, said.get(result.entry.hash, ()), basis)
        found.append(replace(row, main=result is main, entries=len(group), per_day=per_day))
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
        nmse=result.nmse.mean if result.nmse else None,
        low=psnr.low if psnr else None,
        high=psnr.high if psnr else None,
        ssim_low=ssim.low if ssim else None,
        ssim_high=ssim.high if ssim else None,
        seconds=seconds.total if seconds else None,
        megabytes=entry.bytes / 1e6,
        outcome=result.outcome,
        cause=one_sentence(result.cause, CAUSE),
        note=note,
        received=result.received,
        entries=1,
        per_day={},
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
        summary=entry.summary,
        images=images_of(result),
    )


def _doubts(result: Result, basis: Basis) -> Iterable[str]:
    sight, deadline = basis.sights.get(result.entry.hash), basis.rules.deadline
    if sight is not None and result.entry.team != BASELINE:
        if sight.doubt:
            yield f"received as it was seen first, {_words(sight.seen)}: {sight.doubt}"
        elif deadline and received_at(result) <= deadline < datetime.fromisoformat(sight.seen):
            yield f"on time by its file's date alone: seen first {_words(sight.seen)}"
    if result.in_doubt and result.load is not None:
        yield (
            f"failed by the clock while other programs took {result.load.foreign:.0%} of its "
            "cores: `challenge score --rejudge-timeouts` judges it again"
        )
    if result.where is not None and not result.where.same_kind:
        processor = one_sentence(result.machine.get("processor", "unknown"))
        yield f"ran on another kind of processor than the organiser's: {processor}"


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


def _words(moment: str) -> str:
    return shown(datetime.fromisoformat(moment))
