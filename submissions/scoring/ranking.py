"""Which differences on a board are real: tests of pairs, ties, and how stable the ranks are.

For a pair of entries with the difference d_i on image i, the hypothesis is that d is distributed as
-d. Then every choice of signs is as likely as the one that was seen (sign-flip permutation test),

    T(s) = |sum_i s_i d_i| / (sum_i d_i^2)^(1/2),   p = share of the flips s with T(s) >= T(1),

exact for up to 13 images, else of 9,999 random flips and 1, which keeps the level (Phipson, Smyth
2010). All pairs are flipped alike. Of neighbours on the board the values of p are corrected by Holm
(1979); of all pairs, for the ties, by the largest T of a flip among the pairs that are no clearer,
step by step (Westfall, Young 1993): in 95 of 100 challenges no pair at all is called different that
is not. An entry's rank is then a range: from 1 + the entries that are clearly better, to all minus
those that are clearly worse. Entries share a bracket where no two of them are told apart.

Below 12 images nothing is called different. Means and ranks over draws of images with replacement
say how much of a ranking is the choice of images (Wiesenfarth et al. 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from challenge.submissions.scoring.scores import Interval
from challenge.submissions.scoring.statistics import draws, intervals

LEVEL = 0.05
"""Of false alarms, in a whole board."""
FEWEST = 12
"""Images below which nothing is called different."""
FEW = 24
"""Images below which `resolution` is worth a warning."""
POWER = 0.8
"""With which a difference of the size of `resolution` is found."""
FLIPS = 9_999
ALIKE = 1e-4
"""dB; two entries whose scores differ by no more, over all images, differ by rounding."""
EXACT = 13
"""Images up to which every flip is taken."""
ROUNDING = 1e-6
"""By so much of itself, two flips' values of T are the same."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """The difference of an entry to the next one."""

    difference: Interval
    p: float | None
    """Corrected for all gaps of the board; None where there are too few images."""


@dataclass(frozen=True)
class Standing:
    """What can be said of one entry among others, in the order of their means."""

    best: int
    """The rank range's better end, from 1."""
    worst: int
    brackets: tuple[int, ...]
    """Numbers of the brackets it is in, from 0; entries of one bracket are not told apart."""
    gap: Gap | None
    """To the next entry; None for the last."""
    ranks: tuple[float, ...]
    """Share of the draws of images in which it has rank 1, 2, ...; equal means share the better."""


def standings(scores: Array) -> list[Standing]:
    """What the ranking by mean scores is worth, an item for each entry.

    Args:
        scores: of shape (images, entries), finite, the best mean first.

    Raises:
        ValueError: the entries are not in order, or a score is not finite.
    """
    count, entries = scores.shape
    means = scores.mean(axis=0)
    if not np.isfinite(scores).all() or np.any(np.diff(means) > 1e-9):
        raise ValueError("scores are not finite, or entries not in the order of their means")
    clear = different(scores)
    brackets = _brackets(clear)
    shares = rank_shares(scores)
    apart = gaps(scores)
    return [
        Standing(
            best=1 + int(clear[:k, k].sum()),
            worst=entries - int(clear[k, k + 1 :].sum()),
            brackets=tuple(n for n, (low, high) in enumerate(brackets) if low <= k <= high),
            gap=apart[k] if k + 1 < entries else None,
            ranks=tuple(shares[k]),
        )
        for k in range(entries)
    ]


def different(scores: Array) -> NDArray[np.bool_]:
    """Which entries are told apart, shape (entries, entries), symmetric; arguments as above."""
    count, entries = scores.shape
    found = np.zeros((entries, entries), dtype=bool)
    if count < FEWEST or entries < 2:
        return found
    first, second = np.triu_indices(entries, 1)
    statistic, flipped = _flipped(scores, first, second)
    order = np.argsort(statistic, kind="stable")
    largest = np.zeros(flipped.sums.shape[1], dtype=np.float32)
    corrected = np.empty(len(order))
    for pair in order:
        np.maximum(largest, flipped.of(first[pair], second[pair]), out=largest)
        corrected[pair] = flipped.share(largest, statistic[pair])
    # From the clearest pair down: none is called different that is less clear than one that is not.
    clear = np.minimum.accumulate((corrected <= LEVEL)[order[::-1]])
    told = order[::-1][clear]
    found[first[told], second[told]] = True
    return found | found.T


def compare(scores: Array, first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    """p of pairs of entries, uncorrected, shape (pairs,); of identical entries 1."""
    statistic, flipped = _flipped(scores, first, second)
    pairs = zip(first, second, statistic, strict=True)
    return np.array([flipped.share(flipped.of(a, b), seen) for a, b, seen in pairs])


def holm(p: Array) -> Array:
    """p corrected for so many tests by Holm (1979), in the order given."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return found


def rank_shares(scores: Array) -> Array:
    """Share of the draws of images in which entry k has rank r + 1, shape (entries, entries)."""
    entries = scores.shape[1]
    order = np.argsort(-(draws(len(scores)) @ scores), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(entries)[None], axis=1)
    # Entries with the same scores share a rank in every draw.
    _, same = np.unique(scores, axis=1, return_inverse=True)
    for each in range(int(same.max()) + 1):
        alike = same.ravel() == each
        ranks[:, alike] = ranks[:, alike].min(axis=1, keepdims=True)
    flat = np.arange(entries) * entries + ranks
    found = np.bincount(flat.ravel(), minlength=entries**2).reshape(entries, entries)
    return found / len(ranks)


def resolution(spread: float, count: int) -> float:
    """The smallest mean difference of two entries that is found in 80 of 100 challenges.

    By the t test, whose power the sign-flip test has, for one pair at the level of 5 %.

    Args:
        spread: standard deviation of their difference over images.
        count: images, at least 2.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    limit = t.ppf(1 - LEVEL / 2, count - 1)

    def lacking(shift: float) -> float:
        found = nct.sf(limit, count - 1, shift)
        return float(found) - POWER

    return float(brentq(lacking, 0.0, 2 * limit + 2)) * spread / math.sqrt(count)


def gaps(scores: Array) -> list[Gap]:
    """From each entry to the next, one less than there are entries; in whatever order they are."""
    count, entries = scores.shape
    if entries < 2:
        return []
    above = np.arange(entries - 1)
    apart = scores[:, :-1] - scores[:, 1:]
    found = [
        Interval(0.0, 0.0, 0.0) if not column.any() else each
        for each, column in zip(intervals(apart), apart.T, strict=True)
    ]
    if count < FEWEST:
        return [Gap(each, None) for each in found]
    p = holm(compare(scores, above, above + 1))
    return [Gap(each, float(value)) for each, value in zip(found, p, strict=True)]


def _brackets(clear: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The longest runs of neighbours no two of which are told apart, first and last included."""
    entries, found = len(clear), list[tuple[int, int]]()
    for low in range(entries):
        high = low
        while high + 1 < entries and not clear[low : high + 1, high + 1].any():
            high += 1
        if not found or high > found[-1][1]:
            found.append((low, high))
    return found


@dataclass(frozen=True)
class _Flipped:
    """All pairs with flipped signs."""

    sums: NDArray[np.float32]
    """sum_i s_i x_i of every entry and flip: a pair takes two rows, which lie in one piece."""
    lengths: NDArray[np.float32]
    """(sum_i d_i^2)^(1/2) of every two entries; infinite where they differ by rounding."""
    exact: bool

    def of(self, first: int, second: int) -> NDArray[np.float32]:
        """T of every flip, shape (flips,)."""
        found: NDArray[np.float32] = self.sums[first] - self.sums[second]
        np.abs(found, out=found)
        found /= self.lengths[first, second]
        return found

    def share(self, statistics: NDArray[np.float32], seen: float) -> float:
        """p from the flips that reached what was seen."""
        count = np.count_nonzero(statistics >= (1 - ROUNDING) * seen)
        flips = len(statistics)
        return count / flips if self.exact else (count + 1) / (flips + 1)


def _flipped(
    scores: Array, first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[Array, _Flipped]:
    """T of pairs as they were seen, and what gives it of every flip."""
    count = len(scores)
    exact = count <= EXACT
    if exact:
        bits = np.arange(2**count)[:, None] >> np.arange(count)
        signs = (1 - 2 * (bits & 1)).astype(np.float32)
    else:
        rng = np.random.default_rng(0)
        signs = (1 - 2 * rng.integers(0, 2, size=(FLIPS, count))).astype(np.float32)
    # What all entries have in common is in no difference; without it, sums are more exact.
    centred = scores - scores.mean(axis=1, keepdims=True)
    squares = np.square(centred).sum(axis=0)
    lengths = np.sqrt(np.maximum(squares[:, None] + squares - 2 * centred.T @ centred, 0))
    # Of scores that are equal but for rounding no flip says anything.
    lengths = np.where(lengths > ALIKE, lengths, np.inf)
    sums = (centred.T @ signs.T.astype(np.float64)).astype(np.float32)
    pairs = _Flipped(sums, lengths.astype(np.float32), exact)
    means = centred.sum(axis=0)
    return np.abs(means[first] - means[second]) / lengths[first, second], pairs
