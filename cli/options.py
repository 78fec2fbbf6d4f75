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

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings that replace those of the file.",
        show_default=False,
    ),
]
