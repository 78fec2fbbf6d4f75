"""A sweep: one run for every combination of settings, and what came of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.configs.loader import load_entry
from challenge.data import atomic, locks
from challenge.data.layout import Workspace
from challenge.methods import registry
from challenge.submissions import layout
from challenge.submissions.layout import Run
from challenge.submissions.runs.facts import read_facts


@dataclass(frozen=True)
class Point:
    """One combination of the swept settings, and the name of its run."""

    name: str
    settings: tuple[str, ...]
    """`key=value`, one for each swept key."""


@dataclass(frozen=True)
class Planned:
    """A point whose settings are checked, and the run that it will be."""

    point: Point
    overrides: tuple[str, ...]
    """All of them, those that all runs share among them."""
    run: Run

    def is_finished(self) -> bool:
        """Whether the run is there and finished."""
        return self.run.path.exists() and read_facts(self.run).state == "finished"

    def throw_away(self) -> None:
        """Remove the run, if it is there.

        Raises:
            UserError: it is being trained.
        """
        if self.run.path.exists():
            with locks.alone(self.run.lock, self.run.path, "is being removed by"):
                atomic.remove_tree(self.run.path)


def grid(sweep: Sequence[str], name: str) -> list[Point]:
    """Every combination of `KEY=A,B,...`, the last key changing fastest.

    Raises:
        UserError: a sweep is not of that form, or two combinations would have one name.
    """
    choices = []
    for text in sweep:
        key, equals, values = text.partition("=")
        listed = [value.strip() for value in values.split(",")]
        if not equals or not key.strip() or not all(listed):
            raise UserError.of(
                f"--sweep {text}",
                "is not of the form `key=a,b`",
                "for example `train.lr=1e-4,1e-3`",
            )
        choices.append([(key.strip(), value) for value in listed])
    points = []
    for chosen in itertools.product(*choices):
        words = [f"{key.rpartition('.')[2]}-{value}" for key, value in chosen]
        suffix = re.sub(r"[^a-z0-9_-]+", "_", "-".join(words).lower())
        points.append(Point(f"{name}-{suffix}"[:63], tuple(f"{k}={v}" for k, v in chosen)))
    names = [point.name for point in points]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise UserError.of("--sweep", f"gives the name `{twice[0]}` twice", "leave one value out")
    return points


def plan(
    config: str | Mapping[str, Any],
    overrides: Sequence[str],
    sweep: Sequence[str],
    workspace: Path,
    *,
    fresh: bool,
) -> list[Planned]:
    """Check every combination before the first is trained.

    Args:
        fresh: no run of these names may be there yet.

    Raises:
        UserError: a setting is wrong, or a run exists that should not.
    """
    # Checked once by itself: a mistake of the file is told once, not for each combination.
    entry, source = load_entry(config, overrides, registry.mistakes)
    planned = []
    for point in grid(sweep, entry.name):
        given = (*overrides, *point.settings, f"name={point.name}")
        each, _ = load_entry(config, given, registry.mistakes)
        registry.build(each.method, source.path.parent)
        run = layout.run(Workspace(workspace), each.challenge, each.name)
        planned.append(Planned(point, given, run))
    for made in planned if fresh else []:
        if made.run.path.exists():
            raise UserError.of(made.run.path, "exists already", "give `--resume` or `--force`")
    return planned


@contextmanager
def held(planned: Sequence[Planned]) -> Iterator[None]:
    """Be the only sweep over these runs, from the first to the last of them.

    Raises:
        UserError: another one has some of them.
    """
    with ExitStack() as until_the_end:
        for each in planned:
            file = each.run.lock.with_name(f"{each.run.path.name}.sweep")
            until_the_end.enter_context(
                locks.alone(file, each.run.path, "is being trained in a sweep by")
            )
        yield
