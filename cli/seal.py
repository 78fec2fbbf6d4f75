"""`challenge seal`: verify that nothing was changed since the challenge was published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared.options import WORKSPACE, WorkspaceOption


def seal(
    challenge: Annotated[str, typer.Argument(help="The name of a prepared challenge.")],
    hidden: Annotated[
        Path | None,
        typer.Option(help="The revealed hidden folder, where it is not in the workspace."),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Verify the seal: nothing was changed since the first day.

    For everybody, once the hidden folder is revealed.

    Example: challenge seal deblur
    """
    from challenge.cli.shared.console import show
    from challenge.data.challenges.seal import verify
    from challenge.data.layout import Hidden, Workspace

    place = Workspace(workspace)
    found = verify(place.public(challenge), Hidden(hidden) if hidden else place.hidden(challenge))
    show(f"the seal holds: {found}")
    show("truth, noise key and metric are those the challenge was published with")
