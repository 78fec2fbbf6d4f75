"""`challenge train CONFIG --sweep KEY=A,B`: one run for every combination, and a table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from challenge.cli.train import Where, train_one

if TYPE_CHECKING:
    from challenge.submissions.layout import Run


@dataclass(frozen=True)
class Point:
    """One combination of the swept settings, and the name of its run."""

    name: str
    settings: tuple[str, ...]
    """`key=value`, one for each swept key."""


def run_all(config: str, overrides: Sequence[str], sweep: Sequence[str], where: Where) -> None:
    """Train every combination one after the other, then show them in one table.

    With `--resume`, runs that are finished are taken as they are, one that was stopped goes on.
    A run that fails, by a learning rate that is too high, say, is a line of the table.

    Raises:
        UserError: a setting is wrong; found for all combinations before the first is trained.
    """
    from dataclasses import replace

    from challenge.cli.shared.console import fail, say
    from challenge.configs.errors import UserError
    from challenge.configs.loader import load_entry
    from challenge.data.layout import Workspace
    from challenge.methods import registry
    from challenge.submissions import layout
    from challenge.submissions.runs import storage

    if where.processes > 1:
        raise UserError.of("--sweep", "trains with one process", "leave `--processes` out")
    # Checked once by itself: a mistake of the file is told once, not for each combination.
    entry, source = load_entry(config, overrides, registry.mistakes)
    points = grid(sweep, entry.name)
    made: list[Run] = []
    for point in points:
        given = [*overrides, *point.settings, f"name={point.name}"]
        each, _ = load_entry(config, given, registry.mistakes)
        registry.build(each.method, source.path.parent)
        made.append(layout.run(Workspace(where.workspace), each.challenge, each.name))
    for run in made if not (where.resume or where.force) else []:
        if run.path.exists():
            raise UserError.of(run.path, "exists already", "give `--resume` or `--force`")
    failures: dict[str, str] = {}
    for number, (point, run) in enumerate(zip(points, made, strict=True), 1):
        exists = run.path.exists()
        if where.resume and exists and storage.facts(run)["state"] == "finished":
            say(f"{number}/{len(points)} {point.name}: is finished already")
            continue
        say(f"{number}/{len(points)} {' '.join(point.settings)}")
        given = [*overrides, *point.settings, f"name={point.name}"]
        try:
            _, finished = train_one(config, given, replace(where, resume=where.resume and exists))
        except UserError as error:
            fail(error)
            failures[point.name] = str(error.mistakes[0])
            continue
        if not finished:
            say("the whole sweep continues with the same command and --resume")
            raise typer.Exit(130)
    _show(points, made, failures)
    if failures:
        raise typer.Exit(1)


def grid(sweep: Sequence[str], name: str) -> list[Point]:
    """Every combination of `KEY=A,B,...`, the last key changing fastest.

    Raises:
        UserError: a sweep is not of that form, or two combinations would have one name.
    """
    from challenge.configs.errors import UserError

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


def _show(points: Sequence[Point], made: Sequence[Run], failures: dict[str, str]) -> None:
    """One line for each run: settings, quality on the tune part, time and size."""
    from challenge.cli.shared.console import show, table
    from challenge.submissions.runs import storage
    from challenge.submissions.runs.log import best

    keys = [text.partition("=")[0] for text in points[0].settings]
    rows, reached = [], []
    for point, run in zip(points, made, strict=True):
        values = [text.partition("=")[2] for text in point.settings]
        if point.name in failures:
            rows.append((*values, "failed", "", "", "", ""))
            continue
        found, facts = best(run), storage.facts(run)
        psnr, ssim = found.get("psnr"), found.get("ssim")
        if psnr is not None:
            reached.append((psnr, run))
        rows.append(
            (
                *values,
                "" if psnr is None else f"{psnr:.2f}",
                "" if ssim is None else f"{ssim:.4f}",
                f"{found.get('step', 0):.0f}",
                f"{facts['seconds']:.0f}",
                f"{(facts.get('method') or {}).get('parameters') or 0:,}",
            )
        )
    columns = (*keys, "PSNR (dB)", "SSIM", "best at step", "seconds", "parameters")
    table(columns, rows, title="on the tune part", left=keys)
    for name, cause in failures.items():
        show(f"{name}: {cause}")
    if reached:
        show(f"best: {max(reached, key=lambda each: each[0])[1].path}")
    elif len(made) > len(failures):
        paths = " ".join(str(run.path) for run in made)
        show(f"no PSNR on the tune part to choose by; on val: challenge compare {paths}")
