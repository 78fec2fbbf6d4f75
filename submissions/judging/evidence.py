"""What a board's ranking is worth: rank ranges, ties, gaps, the resolution of the test set.

Teams are ranked among each other, so what the organiser judges of baselines moves no team's range.
The gap leads to the next row, whoever's it is. numpy is imported on use.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from challenge.submissions.judging.board import PSNR_DIGITS, Row

if TYPE_CHECKING:
    from challenge.submissions.scoring.ranking import Array, Gap
    from challenge.submissions.scoring.scores import Interval


@dataclass(frozen=True)
class ToNext:
    """The difference of a row's PSNR to that of the next row, image by image."""

    difference: Interval
    p: float | None
    """Corrected for all gaps of the board; None where there are too few images."""
    clear: bool
    """Whether it is called real."""


@dataclass(frozen=True)
class Place:
    """What can be said of a row beside its scores; empty for a baseline, but for the gap."""

    best: int | None
    """The rank range's better end, from 1."""
    worst: int | None
    ties: tuple[str, ...]
    """Letters of the brackets that it shares with others: two rows of one are not told apart."""
    to_next: ToNext | None
    """None for the last row that counts."""
    ranks: Mapping[int, float]
    """Share of the draws of images in which it has this rank."""

    @property
    def rank(self) -> str:
        """`1-3`, or `2` where nothing else is possible; empty for a baseline."""
        if self.best is None:
            return ""
        return f"{self.best}" if self.best == self.worst else f"{self.best}-{self.worst}"

    @property
    def tie(self) -> str:
        """`a`, `ab`, `a-d`."""
        if len(self.ties) < 3:
            return "".join(self.ties)
        return f"{self.ties[0]}-{self.ties[-1]}"


_NONE = Place(None, None, (), None, {})


@dataclass(frozen=True)
class Evidence:
    """Of a whole board."""

    images: int
    """Of the test set; 0 where the verdicts have no scores of images."""
    places: Mapping[str, Place]
    """Of the rows that count, by `Row.entry`."""
    resolution: float | None
    """The smallest difference in dB that is found with 80 % power; None where it is unknown."""

    def to_json(self) -> dict[str, Any]:
        return {"images": self.images, "resolution": self.resolution, "remarks": remarks(self)}


def weigh(rows: Sequence[Row]) -> Evidence:
    """Evidence on a board's rows; those that do not count have none."""
    counting = [row for row in rows if row.counts]
    images = len(counting[0].images) if counting else 0
    if not images:
        return Evidence(0, {}, None)
    import numpy as np

    from challenge.submissions.scoring import ranking

    scores = np.array([list(row.images.values()) for row in counting], dtype=np.float64).T
    gaps = [_to_next(*each) for each in zip(ranking.gaps(scores), pairwise(counting), strict=True)]
    teams = [k for k, row in enumerate(counting) if not row.baseline]
    ranked = _ranked([counting[k] for k in teams], scores[:, teams])
    places = {
        row.entry: replace(ranked.get(row.entry, _NONE), to_next=gap)
        for row, gap in zip(counting, [*gaps, None], strict=True)
    }
    return Evidence(images, places, _resolution(scores))


def remarks(evidence: Evidence) -> list[str]:
    """What a reader must know of it, a line each."""
    from challenge.submissions.scoring.ranking import FEW, FEWEST

    count = evidence.images
    if not count:
        return []
    images = f"{count} image{'s' * (count != 1)}"
    if count < FEWEST:
        return [f"{images}: nothing is called different on fewer than {FEWEST}"]
    said = []
    if evidence.resolution is not None:
        said.append(
            f"resolution of the test set: {evidence.resolution:.2g} dB, the smallest difference of "
            f"two entries that {images} show in 80 of 100 cases"
        )
    if count < FEW:
        said.append(f"{images}: fewer than {FEW} show large differences only")
    return said


def _to_next(gap: Gap, rows: tuple[Row, Row]) -> ToNext:
    from challenge.submissions.scoring.ranking import LEVEL

    equal = _rounded(rows[0]) == _rounded(rows[1])
    return ToNext(gap.difference, gap.p, gap.p is not None and gap.p <= LEVEL and not equal)


def _ranked(rows: Sequence[Row], scores: Array) -> dict[str, Place]:
    """Places of teams, without gaps."""
    if not rows:
        return {}
    import numpy as np

    from challenge.submissions.scoring.ranking import standings

    # Rows that agree to the digits that count stand by SSIM, here they stand by all digits.
    order = np.argsort(-scores.mean(axis=0), kind="stable")
    found = standings(scores[:, order])
    sizes = Counter(number for each in found for number in each.brackets)
    shared = sorted(number for number, size in sizes.items() if size > 1)
    letters = {number: _letters(place) for place, number in enumerate(shared)}
    equal: dict[float, list[int]] = defaultdict(list)
    for place, k in enumerate(order):
        equal[_rounded(rows[k])].append(place)
    places = {}
    for place, k in enumerate(order):
        # Equal entries are not told apart, however surely they differ in further digits.
        same = [found[each] for each in equal[_rounded(rows[k])]]
        numbers = sorted({number for each in same for number in each.brackets} & letters.keys())
        places[rows[k].entry] = Place(
            best=min(each.best for each in same),
            worst=max(each.worst for each in same),
            ties=tuple(letters[number] for number in numbers),
            to_next=None,
            ranks={rank: share for rank, share in enumerate(found[place].ranks, 1) if share},
        )
    return places


def _rounded(row: Row) -> float:
    return round(row.psnr or 0, PSNR_DIGITS)


def _letters(number: int) -> str:
    """`a` to `z`, then `aa`, `ab`, as the columns of a spreadsheet."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _resolution(scores: Array) -> float | None:
    """Of the median spread of neighbours' differences; entries with the same scores say nothing."""
    import numpy as np

    from challenge.submissions.scoring.ranking import ALIKE, FEWEST, resolution

    spreads = np.diff(scores, axis=1).std(axis=0, ddof=1) if len(scores) > 1 else np.zeros(0)
    told = [float(each) for each in spreads if each > ALIKE]
    if len(scores) < FEWEST or not told:
        return None
    return resolution(median(told), len(scores))
