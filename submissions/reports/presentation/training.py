"""The training strategy: the config in words, curves, time, hardware, seed, data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from challenge.configs.reader.writer import dump, flow
from challenge.configs.schema.entry import EntryConfig
from challenge.configs.schema.training import TrainConfig
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import COLOURS, LINES, Drawing, label
from challenge.submissions.reports.pages.tables import Cell, Table, row
from challenge.submissions.reports.presentation.items import (
    Code,
    Figure,
    Item,
    Listing,
    Section,
    Words,
    absent,
)
from challenge.submissions.reports.presentation.subjects import Origin, Subject
from challenge.submissions.reports.training_pictures import smooth
from challenge.submissions.runs import log
from challenge.submissions.runs.curves import Name

POINTS = 400
"""Of a curve, at most."""
PANELS: tuple[tuple[Name, str], ...] = (
    ("loss", "loss"),
    ("psnr", "PSNR on tune (dB)"),
    ("lr", "learning rate"),
)
LOSSES = {
    "mse": "the mean squared error",
    "l1": "the mean absolute error",
    "charbonnier": "a smooth absolute error (Charbonnier)",
    "huber": "the Huber error",
    "ssim": "1 - SSIM",
    "cross_entropy": "the cross-entropy of a categorical head",
}


def section(subjects: Sequence[Subject]) -> Section:
    """The chapter."""
    items: list[Item] = [Listing("Training at a glance", _glance(subjects))]
    curved = [each for each in subjects if len(_curve(each, "psnr")[0]) > 1]
    curved = curved or [each for each in subjects if len(_curve(each, "loss")[0]) > 1]
    if curved:
        items.append(Figure("Curves", _curves(curved)))
    without = [each.name for each in subjects if each not in curved]
    if without:
        names = ", ".join(label(name, 40) for name in without)
        items.append(absent(f"No curve of: {names}. Some carry none, and some learn nothing."))
    for number, each in enumerate(subjects):
        if each.config is None:
            items.append(absent("Its config cannot be read.", title=f"{each.name}: training"))
            continue
        told = tuple(in_words(each.config, each.origin, _reads(each)))
        items.append(Words(f"{each.name}: training in words", told, listed=True))
        settings = _settings(each, number)
        if settings.rows:
            items.append(Listing(f"{each.name}: settings", settings, long=True))
        items.append(Code(f"{each.name}: its whole config", dump(each.config), long=True))
    return Section("training", "Training", tuple(items))


def _reads(each: Subject) -> Sequence[str] | None:
    """The keys of `train:` that the method reads; None where it was not opened."""
    if each.method is None or each.config is None:
        return None
    knobs = {key: value for key, value in each.config.method.items() if key != "name"}
    return type(each.method).reads_with(knobs)


def in_words(config: EntryConfig, origin: Origin, reads: Sequence[str] | None) -> Iterator[str]:
    """The strategy as one would tell it, a sentence each.

    Args:
        reads: the keys of `train:` that matter; None: unknown, all of them.
    """
    train = config.train

    def matters(*keys: str) -> bool:
        return reads is None or any(key in reads for key in keys)

    method = config.method.get("name", "?")
    if reads is not None and not reads:
        yield f"Method `{method}`: it learns without settings of `train:`, or not at all."
    else:
        yield f"Method `{method}`."
    if matters("loss"):
        yield f"It makes {LOSSES[train.loss]} small."
    if matters("optimiser", "lr"):
        yield (
            f"Optimiser {train.optimiser} with a peak learning rate of {train.lr:g}, "
            f"schedule {train.schedule.replace('_', ' ')}"
            + (f", weight decay {train.weight_decay:g}" if train.weight_decay else "")
            + (f", weights averaged with decay {train.ema:g}" if train.ema else "")
            + (f", gradients clipped at {train.clip:g} times their mean." if train.clip else ".")
        )
    if matters("steps", "minutes"):
        if train.steps is not None:
            yield f"{train.steps:,} steps."
        elif train.minutes is not None:
            yield f"For {train.minutes:g} minutes, turned into steps once."
    if matters("patch", "batch"):
        augment = train.augment
        changed = [
            word
            for word, done in (
                ("mirrored", augment.flips),
                ("turned", augment.rotations),
                (f"shrunk by up to {augment.scale:g}", augment.scale < 1),
            )
            if done
        ]
        words = f", {' and '.join(changed)}" if changed else ""
        yield f"Batches of {train.batch} patches of {train.patch} x {train.patch} pixels{words}."
    if matters("tune"):
        yield (
            f"The weights that are kept are chosen on {train.tune} training images that are held "
            "out; val is not looked at."
        )
    if origin.images is not None:
        source = {"builtin": "built-in", "folder": "the challenge's"}.get(origin.source or "", "")
        yield f"Trained on {origin.images} {source} images.".replace("  ", " ")
    uses = config.uses
    yield (
        f"Begun from weights learned elsewhere: {'yes' if uses.pretrained else 'no'}; other images "
        f"than the challenge's: {'yes' if uses.external_data else 'no'}."
    )
    for knob, part in origin.parts.items():
        yield f"Its {knob} is {part}."
    if origin.rounded:
        yield f"Its weights were rounded to {origin.rounded}."


def _glance(subjects: Sequence[Subject]) -> Table:
    rows = []
    for each in subjects:
        config, origin = each.config, each.origin
        memory = None if origin.peak_memory is None else origin.peak_memory / 1e9
        rows.append(
            row(
                each.name,
                str(config.method.get("name", "")) if config else "",
                _time(origin.seconds),
                Cell("") if origin.images is None else Cell(f"{origin.images}", origin.images),
                Cell("") if memory is None else Cell(f"{memory:.2f}", memory),
                Cell(f"{config.seed}", config.seed) if config else "",
                origin.machine or "",
            )
        )
    columns = "name", "method", "time", "images", "memory (GB)", "seed", "hardware"
    return Table("training", "What each was trained with", columns, tuple(rows))


def _time(seconds: float | None) -> Cell:
    if seconds is None:
        return Cell("")
    if seconds < 100:
        return Cell(f"{seconds:.0f} s", seconds)
    minutes = seconds / 60
    return Cell(f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h", seconds)


def _settings(each: Subject, number: int) -> Table:
    from challenge.methods.knobs import knobs

    assert each.config is not None
    meanings = {} if each.method is None else {k.name: k for k in knobs(type(each.method))}
    rows = []
    for place, value in _flat(each.config.method):
        if place != "name":
            known = meanings.get(place)
            rows.append(row(f"method.{place}", flow(value), known.meaning if known else ""))
    reads = _reads(each)
    fields = TrainConfig.model_fields
    for key, value in each.config.train.model_dump().items():
        if reads is None or key in reads:
            meaning = " ".join((fields[key].description or "").split())
            rows.append(row(f"train.{key}", flow(value), meaning))
    columns = "setting", "value", "meaning"
    return Table(f"settings-{number + 1}", f"Settings of {each.name}", columns, tuple(rows))


def _flat(values: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and "name" not in value:
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _curve(each: Subject, name: Name) -> tuple[list[int], list[float]]:
    if each.run is None:
        found = each.curves and each.curves.curves.get(name)
        return ([*found.steps], [*found.values]) if found else ([], [])
    steps, values = log.curve(each.run, name)
    known = [
        (step, float(value))
        for step, value in zip(steps, values, strict=True)
        if isinstance(value, int | float) and np.isfinite(value)
    ]
    return [step for step, _ in known], [value for _, value in known]


def _curves(subjects: Sequence[Subject]) -> Drawing:
    best = []
    panels = [panel for panel in PANELS if any(_curve(each, panel[0])[0] for each in subjects)]

    def paint(figure: Any) -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (name, title) in zip(axes, panels, strict=True):
            axis.set_title(title)
            axis.set_xlabel("step")
            for number, each in enumerate(subjects):
                steps, values = _curve(each, name)
                if not values:
                    continue  # it has other curves
                shown = smooth(values) if name == "loss" else np.array(values)
                every = -(-len(shown) // POINTS)
                # The last point is where it ended.
                kept = [*range(0, len(shown) - 1, every), len(shown) - 1]
                axis.plot(
                    np.array(steps)[kept],
                    shown[kept],
                    color=COLOURS[number % len(COLOURS)],
                    linestyle=LINES[number % len(LINES)],
                    linewidth=1.8,
                    label=label(each.name),
                )
            if name == "lr" and axis.lines and max(max(line.get_ydata()) for line in axis.lines):
                figures.logarithmic(axis)
        axes[-1 if len(panels) == 1 else len(panels) // 2].legend()

    for each in subjects:
        _, values = _curve(each, "psnr")
        if values:
            best.append(f"{label(each.name)} reaches {max(values):.2f} dB")
    alt = f"Loss, PSNR on held-out images and learning rate over the steps. {'; '.join(best)}."
    caption = "tune: training images that are held out of the training, to choose the weights by."
    return figures.draw(
        "curves", alt, paint, caption=caption, size=(max(3.5 * len(panels), 5), 3.4)
    )
