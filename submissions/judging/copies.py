"""Entries of two teams that are the same in another dress, or give the same pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import combinations

from challenge.data.challenges.rules import shown
from challenge.submissions.entries import likeness
from challenge.submissions.entries.teams import BASELINE
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result

CLOSE = 1e-3
"""Decibels: two entries whose every image agrees so closely reconstruct the same."""
FEWEST = 3
"""Images: fewer may agree by chance."""


def alike(results: Sequence[Result], sights: Mapping[str, Sight]) -> dict[str, tuple[str, ...]]:
    """What is said of entries that another team's equals, by hash: of both, with who was first.

    Args:
        results: one verdict an entry.
        sights: the register, by hash.
    """
    said: dict[str, list[str]] = defaultdict(list)
    scored = [each for each in results if each.outcome == "ok"]
    for pair in combinations(scored, 2):
        if pair[0].entry.team != pair[1].entry.team and (common := _common(*pair)):
            first, second = sorted(pair, key=lambda each: _order(each, sights))
            for one, other, word in ((first, second, "later"), (second, first, "first")):
                if one.entry.team != BASELINE:
                    when = _when(one, other, sights, word)
                    of = f"{other.entry.team} {other.entry.name}"
                    said[one.entry.hash].append(f"the same {common} as {of}{when}")
    return {entry: tuple(each) for entry, each in said.items()}


def _common(first: Result, second: Result) -> str:
    """What two entries share; empty where it is nothing."""
    found = likeness.common(first.entry.likeness, second.entry.likeness)
    if found or not (first.psnr and second.psnr):
        return found
    if abs(first.psnr.mean - second.psnr.mean) > CLOSE:
        return ""
    scores = [{image.id: image.psnr or 0.0 for image in each.images} for each in (first, second)]
    same = scores[0].keys() == scores[1].keys() and len(scores[0]) >= FEWEST
    if same and all(abs(scores[0][each] - scores[1][each]) <= CLOSE for each in scores[0]):
        return "score on every image"
    return ""


def _order(result: Result, sights: Mapping[str, Sight]) -> tuple[str, str, str]:
    """By first sight; what was seen at one look, by the files' dates."""
    sight = sights.get(result.entry.hash)
    return (sight.seen if sight else result.judged_at), result.received, result.entry.hash


def _when(one: Result, other: Result, sights: Mapping[str, Sight], word: str) -> str:
    """`, seen first (2026-12-01 10:00 UTC)`; of a baseline nothing.

    What was seen at one look, or is in no register, is told by the dates of the files.
    """
    if other.entry.team == BASELINE:
        return ""
    mine, its = (sights.get(each.entry.hash) for each in (one, other))
    if mine is None or its is None or mine.seen == its.seen:
        if one.received == other.received:
            return ", received at the same time"
        return f", received {word} ({shown(datetime.fromisoformat(other.received))})"
    return f", seen {word} ({shown(datetime.fromisoformat(its.seen))})"
