"""`challenge kit`: what the teams get, in one zip."""

from __future__ import annotations

from typing import Annotated

import typer

from challenge.cli.options import WORKSPACE, WorkspaceOption


def kit(
    challenge: Annotated[str, typer.Argument(help="The name of a prepared challenge.")],
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Make the zip for the teams.

    Public data, configs, a method template with its test, README, a starter notebook.

    Example: challenge kit deblur
    """
    from challenge.cli.console import show
    from challenge.data.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.kit import make_kit

    place = Workspace(workspace)
    target = make_kit(open_challenge(place.public(challenge).path), place)
    show(f"made {target}: {target.stat().st_size / 1e6:.1f} MB; give it to the teams")
