"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared import completion

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="CHALLENGE_WORKSPACE",
        help="The folder in which challenges live; that of a run or an entry that is named.",
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
        autocompletion=completion.levels,
        help="process, landlock or bubblewrap; by default the strongest that holds here.",
    ),
]

TlsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The certificate for a scheduler at `tls://`; by default that of Dask's settings.",
    ),
]

PreparedChallenge = Annotated[
    str,
    typer.Argument(help="The name of a prepared challenge.", autocompletion=completion.prepared),
]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings that replace those of the file.",
        show_default=False,
    ),
]

Comparable = Annotated[
    list[Path],
    typer.Argument(
        help="Runs, packed entries and baselines, for one challenge.",
        metavar="RUN|ENTRY...",
        autocompletion=completion.comparable,
    ),
]

ComparedChallenge = Annotated[
    str | None,
    typer.Option(
        "--challenge",
        metavar="NAME",
        autocompletion=completion.prepared,
        help="By default that of the runs and entries; `deblur` for baselines alone.",
    ),
]
