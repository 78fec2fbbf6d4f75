"""How to reproduce a report: commands, versions, hashes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from challenge.data.challenges.challenge import Challenge
from challenge.submissions.reports.pages.tables import Table, row
from challenge.submissions.reports.presentation.items import Code, Item, Listing, Section
from challenge.submissions.reports.presentation.subjects import Subject
from challenge.submissions.text import one_line


def section(subjects: Sequence[Subject], challenge: Challenge) -> Section:
    """The chapter."""
    items: list[Item] = [
        Code("Commands", "\n".join(_commands(subjects, challenge))),
        Listing("Versions", _versions(subjects)),
        Listing("Hashes", _hashes(subjects, challenge), long=True),
    ]
    return Section("reproduction", "Reproduction", tuple(items))


def _commands(subjects: Sequence[Subject], challenge: Challenge) -> list[str]:
    """Of the workspace that the report was made in; a config is that of the report."""
    name = challenge.config.name
    lines = ["# the config below `Training`, saved as NAME.yaml, makes a run with the same seed"]
    paths = []
    for each in subjects:
        if each.run is not None and each.config is not None:
            path = f"workspace/runs/{name}/{each.config.name}"
            shown = shlex.quote(one_line(path))
            lines.append(f"challenge train {shlex.quote(one_line(each.config.name))}.yaml")
            lines.append(f"challenge infer {shown}")
        elif each.candidate.baseline:
            shown = shlex.quote(each.candidate.baseline)  # commands know it by its name
        else:
            shown = shlex.quote(one_line(_place(each.candidate.path, challenge)))
            lines.append(f"# {shown} is its team's file; its hashes are below `Hashes`")
            lines.append(f"challenge check {shown} --run")
        paths.append(shown)
    return [*lines, f"challenge report {' '.join(paths)}"]


def _place(path: Path, challenge: Challenge) -> str:
    """As the reader, beside a workspace, would give it."""
    home, found = challenge.workspace.path.resolve(), path.resolve()
    return f"workspace/{found.relative_to(home)}" if found.is_relative_to(home) else path.name


def _versions(subjects: Sequence[Subject]) -> Table:
    known = sorted({name for each in subjects for name in each.origin.versions})
    rows = tuple(
        row(each.name, *(each.origin.versions.get(name, "") for name in known)) for each in subjects
    )
    return Table("versions", "Versions it was trained with", ("method", *known), rows)


def _hashes(subjects: Sequence[Subject], challenge: Challenge) -> Table:
    rows = [
        row("challenge", challenge.config.name, challenge.hash),
        row("challenge", "seal of the hidden test set", challenge.seal),
    ]
    for each in subjects:
        rows += [row(each.name, file, hash) for file, hash in each.origin.digests.items()]
    return Table("hashes", "SHA-256", ("of", "file", "hash"), tuple(rows))
