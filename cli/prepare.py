"""`challenge prepare`: images and measurements, public and hidden."""

from __future__ import annotations

from typing import Annotated

import typer

from challenge.cli.shared.options import WORKSPACE, Overrides, WorkspaceOption


def prepare(
    challenge: Annotated[
        str, typer.Argument(help="A challenge: a YAML file, or a name such as `deblur`.")
    ],
    overrides: Overrides = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a prepared challenge; its entries become invalid."),
    ] = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Prepare a challenge: measurements, hidden truth, seal.

    Example: challenge prepare deblur images.test=20
    """
    from challenge.cli.shared.console import progress, say, show
    from challenge.configs.loader import load_challenge
    from challenge.data.layout import Workspace

    config, source = load_challenge(challenge, overrides or [])
    # After it, for it takes seconds: a mistake of the file is told at once.
    from challenge.data.challenges.prepare import prepare as prepare_challenge

    with progress() as report:
        done = prepare_challenge(
            config, source, Workspace(workspace), force=force, progress=report, notice=say
        )
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    show(f"prepared {config.name}: {counts}")
    show(f"public   {done.public.path}   for the teams")
    show(f"hidden   {done.hidden.path}   for the organiser only")
    show(f"seal     {done.seal}")
    show(f"look at  {done.public.sheet('val')}")
