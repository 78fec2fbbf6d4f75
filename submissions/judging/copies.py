"""Entries of two teams that are the same in another dress, or give the same pictures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import groupby, product

from challenge.data.challenges.rules import shown
from challenge.submissions.entries import likeness
from challenge.submissions.entries.likeness import Likeness
from challenge.submissions.entries.teams import BASELINE
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result

CLOSE = 1e-3
"""Decibels: two entries whose every image agrees so closely reconstruct the same."""
FEWEST = 3
"""Images: fewer may agree by chance."""
NAMED = 3
"""Others that are named beside an entry; a whole course may hand in the same first example."""


def alike(results: Sequence[Result], sights: Mapping[str, Sight]) -> dict[str, tuple[str, ...]]:
    """What is said of entries that another team's equals, by hash: of both, with who was first.

    Args:
        results: one verdict an entry.
        sights: the register, by hash.
    """
    scored = sorted(
        (each for each in results if each.outcome == "ok"), key=lambda each: _order(each, sights)
    )
    said: dict[str, tuple[str, ...]] = {}
    for number, others in enumerate(_candidates(scored)):
        one = scored[number]
        lines: list[str] = []
        if one.entry.team == BASELINE:
            continue
        for other in others:
            result = scored[other]
            if common := _common(one, result):
                if len(lines) == NAMED:
                    lines.append("the same as further entries")
                    break
                when = _when(one, result, sights, "first" if other < number else "later")
                of = f"{result.entry.team} {result.entry.name}"
                lines.append(f"the same {common} as {of}{when}")
        if lines:
            said[one.entry.hash] = tuple(lines)
    return said


def _candidates(results: Sequence[Result]) -> Iterator[Iterable[int]]:
    """For each entry the numbers of those of other teams that may equal it, in order.

    Every pair that `_common` finds is among them, and few others: to compare all takes long. What
    equals in most of its bytes shares one of its rarest tensors, which hold more than the rest.
    """
    count = Counter(name for each in results for name in each.entry.likeness.weights)
    keys = [{*_parts(each.entry.likeness, count), *_cells(each)[:1]} for each in results]
    found: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (own, each) in enumerate(zip(keys, results, strict=True)):
        for key in own:
            found[key][each.entry.team].append(number)
    for own, each in zip(keys, results, strict=True):
        teams = [found[key] for key in {*own, *_cells(each)} if key in found]
        others = [
            numbers for team in teams for name, numbers in team.items() if name != each.entry.team
        ]
        yield (number for number, _ in groupby(merge(*others)))


def _parts(like: Likeness, count: Mapping[str, int]) -> Iterator[Hashable]:
    """The rarest tensors of an entry, or its code and settings where it has no weights."""
    total = sum(like.weights.values())
    if not total and like.method:
        yield like.code, like.method
    rest = (1 - likeness.MOST) * total + 1
    for name in sorted(like.weights, key=lambda name: (count[name], name)):
        if rest < 0:
            return
        yield name
        rest -= like.weights[name]


def _cells(result: Result) -> list[Hashable]:
    """Where mean and first two scores lie on a grid of `CLOSE`, then the places beside that."""
    if result.psnr is None or len(result.images) < FEWEST:
        return []
    first = [each.psnr or 0.0 for each in sorted(result.images, key=lambda each: each.id)[:2]]
    place = [math.floor(each / CLOSE) for each in (result.psnr.mean, *first)]
    return [
        tuple(map(sum, zip(place, step, strict=True))) for step in product((0, -1, 1), repeat=3)
    ]


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
