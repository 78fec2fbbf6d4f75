"""The convergence analysis, where a method is an iteration that theorems speak of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.reports import convergence, subjects
from challenge.submissions.reports.analysis import Analysis, Settings
from challenge.submissions.reports.convergence_pictures import law
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import COLOURS, Drawing, label
from challenge.submissions.reports.pages.tables import Table, row
from challenge.submissions.reports.presentation.items import (
    Figure,
    Item,
    Listing,
    Section,
    absent,
    failed,
)
from challenge.submissions.reports.presentation.subjects import Subject
from challenge.submissions.reports.scenes import side_of

SIDE = 48
"""Of the centre of an image; all of it where the operator sees it as a whole."""
SETTINGS = Settings(images=1, iterations=60)
"""As much as a report waits for; `challenge analyse` measures more."""


def section(found: Sequence[Subject], challenge: Challenge, *, analyse: bool = True) -> Section:
    """The chapter; without items where no method is of that kind."""
    items = list[Item]()
    settings = replace(SETTINGS, size=side_of(challenge, None, usual=SIDE)[0])
    for number, each in enumerate(found):
        if each.method is None:
            continue
        try:
            subjects.kind_of(each.method, each.name)
        except UserError:
            continue  # no theorem speaks of it
        if not analyse:
            items.append(absent("Not analysed here: `challenge analyse` does.", title=each.name))
            continue
        try:
            done = convergence.analyse(each.method, each.name, challenge, settings)
        except Exception as error:  # one method's mistake is no report's: the others are shown
            items.append(failed("Not analysed", error, title=each.name))
            continue
        items += _of(each, number, done)
    return Section("convergence", "Convergence", tuple(items))


def _of(each: Subject, number: int, done: Analysis) -> Iterator[Item]:
    if done.courses:
        yield Figure(f"{each.name}: steps of the iteration", _steps(each, number, done))
    if done.statements:
        yield Listing(f"{each.name}: what theorems say", _verdicts(each, number, done))
    if not done.courses and not done.statements:
        yield absent("Nothing was followed.", title=each.name)


def _steps(each: Subject, number: int, done: Analysis) -> Drawing:
    objective = [course for course in done.courses if course.objective]

    def paint(figure: Any) -> None:
        axes = figure.subplots(1, 2 if objective else 1, squeeze=False)[0]
        for place, course in enumerate(done.courses):
            values = [value if math.isfinite(value) else math.nan for value in course.steps]
            axes[0].plot(
                range(1, len(values) + 1),
                values,
                color=COLOURS[place % len(COLOURS)],
                linewidth=2,
                label=f"{255 * course.level:.3g}/255: {law(course)}",
            )
        if any(value > 0 for course in done.courses for value in course.steps):
            figures.logarithmic(axes[0])
        axes[0].set_title("length of a step, root mean square")
        axes[0].set_xlabel("k")
        axes[0].legend()
        for place, course in enumerate(objective):
            least = min(course.objective)
            above = [value - least for value in course.objective]
            axes[1].plot(range(len(above)), above, color=COLOURS[place % len(COLOURS)], linewidth=2)
            axes[1].set_title("F(x_k) above the least F seen")
            axes[1].set_xlabel("k")
        if any(v > min(c.objective) for c in objective for v in c.objective):
            figures.logarithmic(axes[1])

    laws = "; ".join(
        f"noise {255 * course.level:.3g}/255, {law(course)}, last step {course.steps[-1]:.1e}"
        for course in done.courses
        if course.steps
    )
    alt = f"Steps of {label(each.name)} ({done.courses[0].algorithm}): {laws}."
    size = (9.6 if objective else 5.8, 3.4)
    caption = (
        f"On the centre of one val image, {done.settings.size} pixels wide; in the legend noise "
        "level and fitted law."
    )
    return figures.draw(f"convergence-{number + 1}", alt, paint, caption=caption, size=size)


def _verdicts(each: Subject, number: int, done: Analysis) -> Table:
    rows = []
    for statement in done.statements:
        missing = [
            f"{judged.words}: {judged.measured}"
            for judged in statement.rows
            if judged.verdict != "holds"
        ]
        rows.append(
            row(
                statement.theorem.name,
                statement.theorem.source,
                statement.theorem.statement,
                statement.verdict,
                "; ".join(missing) or "every assumption is certified",
            )
        )
    note = (
        "An assumption holds where the construction certifies it, fails where a point refutes it, "
        "and is not certified otherwise: measurements at points prove nothing."
    )
    columns = "theorem", "source", "says", "verdict", "what is missing"
    title = f"Theorems about {each.name}"
    return Table(f"theorems-{number + 1}", title, columns, tuple(rows), note)
