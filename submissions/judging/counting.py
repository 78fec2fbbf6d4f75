"""Which verdict stands for an entry, and which entries count, by rules, teams and the register."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from challenge.configs.schema.challenge import AmendableRules, Limits
from challenge.submissions.entries.teams import BASELINE, Teams
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result


@dataclass(frozen=True)
class Basis:
    """What decides it, beside the verdicts."""

    rules: AmendableRules
    """Deadline, entries a day, and which entry counts."""
    teams: Teams | None = None
    """Entries of teams that are not in the list do not count."""
    challenge: str | None = None
    """Leaves out verdicts on any other preparation of the challenge."""
    limits: Limits | None = None
    """Those that hold: of several verdicts on an entry, one that was made by them goes first."""
    sights: Mapping[str, Sight] = field(default_factory=dict)
    """The register of first sight, by the entries' hashes."""
    revealed: datetime | None = None
    """When the truth was published; what was received later does not count."""


def newest(results: Iterable[Result], basis: Basis) -> list[Result]:
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
    return sorted(last.values(), key=lambda each: (received_at(each), each.entry.hash))


def _dated(result: Result, basis: Basis) -> Result:
    """A verdict with the time of the register."""
    sight = basis.sights.get(result.entry.hash)
    return result.model_copy(update={"received": sight.received}) if sight else result


def why_not(results: Sequence[Result], basis: Basis) -> dict[str, str]:
    """Why entries do not count, by hash. A failed entry uses up no part of a day's number."""
    rules, teams = basis.rules, basis.teams
    found: dict[str, str] = {}
    valid: dict[tuple[str, str], int] = defaultdict(int)
    scored = _scored(results)
    for result in results:
        identity, team = result.entry.hash, result.entry.team
        if result.outcome != "ok":
            found[identity] = f"failed: {result.outcome}"
        elif images_of(result).keys() != scored[result.challenge.hash]:
            found[identity] = "scores of images are missing: judge it again by `score --rejudge`"
        if team == BASELINE:
            continue
        if not team:
            found[identity] = "nothing in it says whose it is"
        elif teams is not None and team not in teams.teams:
            found[identity] = "not in the list of teams"
        elif rules.deadline is not None and received_at(result) > rules.deadline:
            found[identity] = "after the deadline"
        elif basis.revealed is not None and _came(result, basis) > basis.revealed:
            found[identity] = "after the reveal"
        elif result.outcome == "ok":
            day = team, received_at(result).date().isoformat()
            valid[day] += 1
            if valid[day] > rules.entries_per_day:
                found[identity] = f"more than {rules.entries_per_day} entries that day (UTC)"
    return found


def _came(result: Result, basis: Basis) -> datetime:
    """When it was first looked at, or received: a file's own date can be set by anyone."""
    sight = basis.sights.get(result.entry.hash)
    if sight is None:
        return received_at(result)
    return max(received_at(result), datetime.fromisoformat(sight.seen).astimezone(UTC))


def received_at(result: Result) -> datetime:
    """The moment that counts, in UTC."""
    return datetime.fromisoformat(result.received).astimezone(UTC)


def images_of(result: Result) -> dict[str, float]:
    """PSNR by image, in the order of the ids; an image without both scores has none."""
    return {
        each.id: each.psnr
        for each in sorted(result.images, key=lambda each: each.id)
        if each.psnr is not None and each.ssim is not None
    }


def _scored(results: Sequence[Result]) -> dict[str, frozenset[str]]:
    """The images of each challenge: those that most entries have scores of."""
    found: dict[str, Counter[frozenset[str]]] = defaultdict(Counter)
    for result in results:
        if result.outcome == "ok":
            found[result.challenge.hash][frozenset(images_of(result))] += 1
    return {
        challenge: max(sets, key=lambda each: (sets[each], len(each), sorted(each)))
        for challenge, sets in found.items()
    }
