"""The evaluation on val: scores with intervals, differences image by image, tables, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from challenge.data.challenges.challenge import Challenge
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import FAINT, Drawing, label, style_of
from challenge.submissions.reports.pages.tables import Cell, Table, number, row
from challenge.submissions.reports.presentation.items import (
    Figure,
    Item,
    Listing,
    Section,
    Words,
    absent,
)
from challenge.submissions.reports.presentation.pictures import pictures
from challenge.submissions.reports.presentation.subjects import Subject
from challenge.submissions.scoring import metrics, ranking
from challenge.submissions.scoring.scores import Interval
from challenge.submissions.scoring.statistics import interval, paired

MEASURED = "measured"
"""What a method alone is compared with, where the measurement is as large as the image."""


def section(
    subjects: Sequence[Subject], challenge: Challenge, shown: Sequence[tuple[str, str]] = ()
) -> Section:
    """The chapter.

    Args:
        shown: ids of val with the reasons why they are shown; by default those that tell most.
    """
    compared = [each.compared for each in subjects if each.compared is not None]
    items = list[Item]()
    if compared:
        levels = {each.candidate.name: each.scores.psnr_by_image() for each in compared}
        baseline, first = _baseline(levels, challenge)
        items.append(Listing("Scores", _scores(compared, baseline, first, levels)))
        items.append(Figure("Scores with intervals", _intervals(compared)))
        items.append(Words("What can be told apart", tuple(_apart(levels)), listed=True))
        others = [each for each in levels if each != baseline]
        if others:
            drawn = _scatter(baseline, first, {each: levels[each] for each in others})
            items.append(Figure(f"Image by image against {label(baseline)}", drawn))
        items.append(Listing("Every image", _images(compared), long=True))
        items += pictures(compared, challenge, shown)
    for each in subjects:
        if each.compared is None:
            items.append(_without(each))
    return Section("evaluation", "Evaluation", tuple(items))


def _without(each: Subject) -> Item:
    title = f"{each.name}: no scores"
    if each.failure is None:
        return absent("It has not reconstructed val yet: `challenge infer` does.", title=title)
    return absent(f"{each.failure.outcome}: {each.failure.cause}.", title=title)


def _baseline(
    levels: Mapping[str, Mapping[str, float]], challenge: Challenge
) -> tuple[str, Mapping[str, float]]:
    """The first method; of one alone the measurement, where it has scores."""
    (name, first), *others = levels.items()
    if others:
        return name, first
    found = {}
    for identity in first:
        seen, truth = challenge.measurement("val", identity).picture, challenge.truth(identity)
        if seen.shape != truth.shape:
            return name, first
        found[identity] = metrics.psnr(estimate=seen, truth=truth, crop=challenge.crop)
    return MEASURED, found


def _scores(
    compared: Sequence[Compared],
    baseline: str,
    first: Mapping[str, float],
    levels: Mapping[str, Mapping[str, float]],
) -> Table:
    floats = any(each.scores.nmse for each in compared)
    rows = []
    if baseline == MEASURED:
        mean = interval([*first.values()])
        blank = [Cell("")] * (6 if floats else 5)
        rows.append(row(MEASURED, _with_interval(mean, 2), *blank))
    for each in compared:
        name, scores = each.candidate.name, each.scores
        assert scores.psnr and scores.ssim
        over = paired(levels[name], first)
        cells = [
            _with_interval(scores.psnr, 2),
            Cell("") if name == baseline else _with_interval(over, 2, sign=True),
            _with_interval(scores.ssim, 4),
        ]
        if floats:
            cells.append(_with_interval(scores.nmse, 4) if scores.nmse else Cell(""))
        cells += [
            number(each.seconds, 2),
            number(each.megabytes, 2),
            Cell(f"{each.parameters:,}", each.parameters),
        ]
        rows.append(row(name, *cells))
    columns = ["method", "PSNR (dB)", f"over {label(baseline)} (dB)", "SSIM"]
    columns += ["NMSE"] * floats + ["s an image", "MB", "parameters"]
    count = len(first)
    note = (
        "In brackets 95 % bootstrap-t intervals of the mean over images. Differences are taken "
        "image by image, so that their intervals are much narrower than those of the means."
    )
    title = f"Mean scores on {count} image{'s' * (count != 1)} of val"
    return Table("scores", title, tuple(columns), tuple(rows), note)


def _with_interval(found: Interval, digits: int, *, sign: bool = False) -> Cell:
    plain = f"{found.mean:+.{digits}f}" if sign else f"{found.mean:.{digits}f}"
    if found.low is None or found.high is None:
        return Cell(plain, found.mean)
    return Cell(f"{plain} [{found.low:.{digits}f}, {found.high:.{digits}f}]", found.mean)


def _intervals(compared: Sequence[Compared]) -> Drawing:
    order = sorted(compared, key=lambda each: -each.scores.psnr.mean)  # type: ignore[union-attr]

    def paint(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, kind, title in zip(axes, ("psnr", "ssim"), ("PSNR (dB)", "SSIM"), strict=True):
            for place, each in enumerate(order):
                found: Interval = getattr(each.scores, kind)
                colour = style_of(compared.index(each))
                if found.low is not None and found.high is not None:
                    axis.plot([found.low, found.high], [place] * 2, color=colour["color"], lw=2.5)
                axis.plot(found.mean, place, ms=9, color=colour["color"], marker=colour["marker"])
            axis.set_title(title)
            axis.set_yticks(range(len(order)), [label(each.candidate.name) for each in order])
            axis.set_ylim(len(order) - 0.5, -0.5)
            axis.margins(x=0.12)

    means = "; ".join(
        f"{label(each.candidate.name)} {each.scores.psnr.mean:.2f} dB"  # type: ignore[union-attr]
        for each in order
    )
    caption = "Means over images with 95 % bootstrap-t intervals, the best above."
    alt, size = f"Mean PSNR and SSIM with intervals: {means}.", (9.0, 1.5 + 0.42 * len(order))
    return figures.draw("intervals", alt, paint, caption=caption, size=size)


def _apart(levels: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Which differences are real, by the test of the board over all pairs."""
    names = sorted(levels, key=lambda name: -float(np.mean([*levels[name].values()])))
    images = sorted(levels[names[0]])
    if len(names) < 2:
        count = len(images)
        yield f"One method, {count} images: its interval says how far another choice might lead."
        return
    if len(images) < ranking.FEWEST:
        yield f"On {len(images)} images no two are called different: that takes {ranking.FEWEST}."
        return
    scores = np.array([[levels[name][image] for name in names] for image in images])
    clear = ranking.different(scores)
    for above in range(len(names) - 1):
        below = [names[k] for k in range(above + 1, len(names)) if clear[above, k]]
        alike = [names[k] for k in range(above + 1, len(names)) if not clear[above, k]]
        said = []
        if below:
            said.append(f"is better than {_listed(below)}")
        if alike:
            said.append(f"cannot be told apart from {_listed(alike)}")
        yield f"{label(names[above], 40)} {', and '.join(said)}."
    yield (
        "By sign-flip tests of the differences image by image, corrected over all pairs: at most "
        "5 % false alarms altogether."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(label(each, 40) for each in names)


def _scatter(
    baseline: str, first: Mapping[str, float], others: Mapping[str, Mapping[str, float]]
) -> Drawing:
    images = sorted(first)
    x = [first[image] for image in images]

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        drawn = list(x)
        # The baseline has the first style in all figures, where it is a method.
        shift = 0 if baseline == MEASURED else 1
        for place, (name, values) in enumerate(others.items()):
            y = [values[image] for image in images]
            style = style_of(place + shift) | {"linestyle": ""}
            axis.plot(x, y, label=label(name), markersize=6, alpha=0.8, **style)
            drawn += y
        ends = [min(drawn), max(drawn)]
        axis.plot(ends, ends, color=FAINT, linewidth=1.2, linestyle="--")
        axis.set_xlabel(f"PSNR of {label(baseline)} (dB)")
        axis.set_ylabel("PSNR (dB)")
        axis.legend()

    ahead = [
        f"{label(name)} is better on {sum(v[i] > first[i] for i in images)} of {len(images)} images"
        for name, v in others.items()
    ]
    alt = f"PSNR of every image against that of {label(baseline)}: {'; '.join(ahead)}."
    caption = "A point is an image; above the dashed line it is reconstructed better. " + (
        "; ".join(ahead) + "."
    )
    return figures.draw("scatter", alt, paint, caption=caption, size=(6.4, 4.4))


def _images(compared: Sequence[Compared]) -> Table:
    both = len(compared) <= 2
    columns = ["image"]
    for each in compared:
        name = label(each.candidate.name, 24)
        columns += [f"{name}: PSNR", f"{name}: SSIM"] if both else [name]
    known = [{image.id: image for image in each.scores.images} for each in compared]
    rows = []
    for identity in sorted(known[0]):
        cells = []
        for scores in known:
            cells.append(number(scores[identity].psnr, 2))
            if both:
                cells.append(number(scores[identity].ssim, 4))
        rows.append(row(identity, *cells))
    title = "Scores of every image" if both else "PSNR of every image (dB)"
    return Table("images", title, tuple(columns), tuple(rows))
