"""`challenge pack`: a run becomes an entry, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.options import find_workspace


def pack(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    team: Annotated[str, typer.Option(help="The name of your team.")],
    workspace: Annotated[
        Path | None,
        typer.Option(envvar="CHALLENGE_WORKSPACE", help="By default the run's own workspace."),
    ] = None,
) -> None:
    """Pack a run as an entry: one zip, checked first.

    Example: challenge pack workspace/runs/deblur/tv --team alpha
    """
    from challenge.cli.console import show
    from challenge.data.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.submissions import layout, runs, teams
    from challenge.submissions.pack import pack as pack_run

    place = Workspace(find_workspace(run, workspace))
    made = layout.Run(run)
    record, config = runs.facts(made), runs.read_config(made)
    challenge = open_challenge(place.public(record["challenge"]["name"]).path)
    target = layout.entry(place, team, config.name)
    pack_run(made, team, target, challenge, teams.load(place))
    size, limit = target.stat().st_size, challenge.config.limits.weights_mb
    show(f"packed {target}: {size / 1e6:.2f} MB of {limit:g} MB")
    show(f"next: challenge check {target} --run")
