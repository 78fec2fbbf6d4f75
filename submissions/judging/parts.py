"""The two parts of a hidden test set: one is shown during the week, the final one on the last day.

    image i is of the final part  <=>  HMAC-SHA256(key, i) is among the smallest  share * count

with the secret key of the hidden folder, so nobody chooses the parts after the fact, and nobody who
has not the key knows them. A verdict's scores are then those of one part.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Literal

from challenge.data.layout import Hidden
from challenge.submissions.judging import reveal
from challenge.submissions.judging.counting import images_of
from challenge.submissions.judging.result import Result
from challenge.submissions.scoring.foreseen import sizes

Part = Literal["public", "final"]


def split(ids: Iterable[str], key: bytes, share: float) -> dict[Part, frozenset[str]]:
    """The ids of both parts; of two images or more, neither is empty.

    Args:
        key: secret, of the hidden folder.
        share: of the images in the final part, in (0, 1).
    """
    ordered = sorted(ids, key=lambda each: hmac.digest(key, each.encode(), hashlib.sha256))
    count = sizes(len(ordered), share)[1]
    return {"final": frozenset(ordered[:count]), "public": frozenset(ordered[count:])}


def until_revealed(results: Sequence[Result], hidden: Hidden, share: float | None) -> list[Result]:
    """The verdicts as they may be shown: before the reveal, those on the public part.

    Args:
        results: verdicts on all images.
        hidden: the folder with the key, and the moment of the reveal.
        share: `rules.final_share`; None: there is one part, which is shown.
    """
    if share is None or reveal.read(hidden) is not None:
        return list(results)
    return restrict(results, split(hidden.ids(), hidden.key.read_bytes(), share)["public"])


def restrict(results: Sequence[Result], ids: frozenset[str]) -> list[Result]:
    """The verdicts with the scores of these images alone; what failed has failed on all.

    A verdict without a score for each of them has no mean, and does not rank.
    """
    import numpy as np

    from challenge.submissions.scoring.statistics import intervals

    # Means over all images would tell those of the other part.
    nothing = {"psnr": None, "ssim": None, "nmse": None, "calibration": None}
    found = [
        each.model_copy(update={"images": tuple(i for i in each.images if i.id in ids), **nothing})
        for each in results
    ]
    whole = [
        number
        for number, each in enumerate(found)
        if each.outcome == "ok" and images_of(each).keys() == ids
    ]
    if not whole or not ids:
        return found
    columns = [sorted(found[number].images, key=lambda each: each.id) for number in whole]
    for what in ("psnr", "ssim", "nmse"):
        scores = np.array(
            [[getattr(each, what) for each in column] for column in columns], dtype=np.float64
        )
        if np.isnan(scores).any():  # NMSE is of floats alone
            continue
        for number, value in zip(whole, intervals(scores.T), strict=True):
            found[number] = found[number].model_copy(update={what: value})
    return found
