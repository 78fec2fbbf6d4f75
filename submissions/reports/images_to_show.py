"""Which images of val a comparison shows, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median

from challenge.configs import spelling
from challenge.configs.errors import Mistake, UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.scoring.scores import Scores
from challenge.submissions.scoring.statistics import differences


def informative_images(methods: Mapping[str, Scores]) -> list[tuple[str, str]]:
    """At most four images that show most of how methods differ, each with the reason.

    Of the differences between the first method and the best other one: the median, the largest,
    the smallest; then the image that is hardest for all. A single method has its median, best
    and worst image. Ties go to the first id.

    Args:
        methods: the scores by the methods' names, the first method first.
    """
    (first, scores), *others = methods.items()
    values, what = scores.psnr_by_image(), "PSNR"
    words = "median", "highest", "lowest"
    if others:
        rival = max(others, key=lambda each: fmean(each[1].psnr_by_image().values()))
        values, what = differences(rival[1].psnr_by_image(), values), f"{rival[0]} - {first}"
        words = "median of", "largest", "smallest"
    names = sorted(values)
    middle = median(values.values())
    levels = [each.psnr_by_image() for each in methods.values()]
    chosen = [
        (min(names, key=lambda name: abs(values[name] - middle)), f"{words[0]} {what}"),
        (max(names, key=lambda name: values[name]), f"{words[1]} {what}"),
        (min(names, key=lambda name: values[name]), f"{words[2]} {what}"),
        (min(names, key=lambda name: sum(level[name] for level in levels)), "hardest for all"),
    ]
    rows: dict[str, str] = {}
    for name, reason in chosen:
        rows.setdefault(name, reason)  # an image that is chosen twice is shown for its first reason
    return [*rows.items()]


def requested_images(identities: Sequence[str], challenge: Challenge) -> list[tuple[str, str]]:
    """The images that were asked for.

    Raises:
        UserError: an id is not one of val.
    """
    known = challenge.ids("val")
    mistakes = []
    for identity in identities:
        if identity not in known:
            near = spelling.nearest(identity, known, 3) or known[:3]
            listed = ", ".join(f"`{each}`" for each in near)
            cause = f"`{identity}` is not an image of val"
            mistakes.append(Mistake("--images", cause, f"there are {len(known)}, such as {listed}"))
    if mistakes:
        raise UserError(*mistakes)
    return [(identity, "") for identity in dict.fromkeys(identities)]
