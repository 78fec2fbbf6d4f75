"""The convergence analysis as a picture: constants over noise levels, steps, the objective."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.data import atomic
from challenge.submissions.reports.training_pictures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from challenge.submissions.reports.analysis import Analysis, Course

MARKS = {"data": "o", "noise": "s", "adversarial": "^"}
MOST = 6
"""Iterations that are drawn; more lines are not told apart."""


def draw(path: Path, found: Analysis) -> None:
    """Draw an analysis and write it as a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    objective = any(each.objective for each in found.courses)
    panels = 3 if objective else 2
    # Not pyplot: it keeps every figure and picks a window system.
    figure = Figure(figsize=(4.8 * panels, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    _constants(axes[0], found)
    _steps(axes[1], _spread(found.courses))
    if objective:
        _objective(axes[2], _spread([each for each in found.courses if each.objective]))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.suptitle(f"{found.name} ({found.method}) on {found.challenge}", fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    atomic.write_bytes(path, buffer.getvalue())


def _constants(axis: Any, found: Analysis) -> None:
    """A point for every map, level and kind of points; certified bounds are dashed."""
    from matplotlib.lines import Line2D

    apart = found.kind in ("unrolled", "flow")
    places = [number + 1 if apart else 255 * each.level for number, each in enumerate(found.levels)]
    shown = []
    for colour, name in zip(COLOURS, found.levels[0].norms, strict=False):
        for mark in MARKS:
            values = [each.norms[name][mark] for each in found.levels]
            axis.plot(places, values, MARKS[mark], color=colour, alpha=0.8, markersize=6)
        worst = [max(each.norms[name].values()) for each in found.levels]
        axis.plot(places, worst, "-", color=colour, linewidth=1.2)
        shown.append(Line2D([], [], color=colour, label=name))
        certified = [each.certified[name] for each in found.levels]
        if None not in certified:
            axis.plot(places, certified, "--", color=colour, linewidth=1.2)
    shown += [
        Line2D([], [], color="grey", marker=mark, linestyle="", label=kind)
        for kind, mark in MARKS.items()
    ]
    if any(each is not None for level in found.levels for each in level.certified.values()):
        shown.append(Line2D([], [], color="grey", linestyle="--", label="certified"))
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("" if apart else "noise level (of 255)")
    axis.set_title("Lipschitz constants, at least", fontsize=10)
    axis.set_xticks(places, [each.label.removesuffix("/255") for each in found.levels])
    if len(places) == 1:
        axis.set_xlim(places[0] - 1, places[0] + 1)
    axis.legend(handles=shown, fontsize=8, ncols=2)


def _spread(courses: Sequence[Course]) -> Sequence[Course]:
    """At most `MOST` of them, from the first to the last."""
    if len(courses) <= MOST:
        return courses
    return [courses[round(k * (len(courses) - 1) / (MOST - 1))] for k in range(MOST)]


def _steps(axis: Any, courses: Sequence[Course]) -> None:
    """r_k of every iteration over k, with the law that was fitted to its end."""
    for number, each in enumerate(courses):
        colour = COLOURS[number % len(COLOURS)]
        numbers = range(1, len(each.steps) + 1)
        finite = [value if math.isfinite(value) else math.nan for value in each.steps]
        label = f"{each.identity}, {255 * each.level:.3g}/255: {law(each)}"
        axis.plot(numbers, finite, color=colour, linewidth=1.4, label=label)
    _logarithmic(axis, [value for each in courses for value in each.steps])
    axis.set_xlabel("k")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_title(f"step of {courses[0].algorithm}, root mean square", fontsize=10)
    axis.legend(fontsize=8)


def _logarithmic(axis: Any, values: Iterable[float]) -> None:
    """A logarithmic axis, unless nothing of what is drawn has a logarithm."""
    if any(value > 0 for value in values):
        axis.set_yscale("log")


def law(course: Course) -> str:
    """The fitted law in a few characters: `0.93^k`, `k^-1.2`."""
    if course.rate is None:
        return "no law"
    if course.rate.law == "linear":
        return f"{course.rate.value:.4g}^k"
    return f"k^{-course.rate.value:.2g}"


def _objective(axis: Any, courses: Sequence[Course]) -> None:
    """F(x_k) above the least value seen."""
    drawn: list[float] = []
    for number, each in enumerate(courses):
        least = min(each.objective)
        above = [value - least for value in each.objective]
        drawn += above
        label = f"{each.identity}, {255 * each.level:.3g}/255"
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(range(len(above)), above, color=colour, linewidth=1.4, label=label)
    _logarithmic(axis, drawn)
    axis.set_xlabel("k")
    axis.set_title("F(x_k) above the least F seen", fontsize=10)
    axis.legend(fontsize=8)
