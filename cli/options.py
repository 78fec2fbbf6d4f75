"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="CHALLENGE_WORKSPACE",
        help="The folder in which challenges live.",
        show_default=True,
    ),
]
WORKSPACE = Path("workspace")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")]

IsolationOption = Annotated[
    str | None,
    typer.Option(
        "--isolation",
        metavar="LEVEL",
        help="process, landlock or bubblewrap; by default the strongest that holds here.",
    ),
]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings that replace those of the file.",
        show_default=False,
    ),
]


def find_workspace(run: Path, given: Path | None) -> Path:
    """The workspace of a run: as given, else the one it lies in, else the default.

    A run lies in `WORKSPACE/runs/CHALLENGE/NAME`.
    """
    if given is not None:
        return given
    parents = run.resolve().parents
    if len(parents) > 2 and parents[1].name == "runs":
        return Path(*run.parts[:-3]) if len(run.parts) > 3 else parents[2]
    return WORKSPACE
