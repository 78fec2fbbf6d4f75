"""`challenge seal`: verify that nothing was changed since the challenge was published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, WorkspaceOption


def seal(
    challenge: Annotated[
        str,
        typer.Argument(
            help="The name of a prepared challenge.", autocompletion=completion.prepared
        ),
    ],
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
    from challenge.data.challenges import rules
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.challenges.seal import read, verify
    from challenge.data.layout import Hidden, Workspace

    place = Workspace(workspace)
    folder = Hidden(hidden) if hidden else place.hidden(challenge)
    found = verify(place.public(challenge), folder)
    show(f"the seal holds: {found}")
    covered = "truth, measurements," if "measurements" in read(folder) else "truth,"
    standing = open_challenge(place.public(challenge).path).standing
    rules.compare(place.public(challenge), folder.rules, standing)
    show(f"{covered} noise key and metric are those the challenge was published with")
    show(f"rules {standing.digest[:16]}: {standing.version}")
