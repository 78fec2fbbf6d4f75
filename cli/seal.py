"""`challenge seal`: verify that nothing was changed since the challenge was published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared.options import WORKSPACE, PreparedChallenge, WorkspaceOption
from challenge.cli.shared.workspace import use


def seal(
    challenge: PreparedChallenge,
    hidden: Annotated[
        Path | None,
        typer.Option(help="The revealed hidden folder, where it is not in the workspace."),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Verify the seal: nothing was changed since the first day.

    For everybody, once the hidden folder is revealed, without its `sources.json`: that names the
    files of the images. Of the public folder every file is compared
    with the manifest, and every measurement is recomputed from truth, operator and key.

    Example: challenge seal deblur
    """
    from challenge.cli.shared import sealed
    from challenge.cli.shared.kinds import expect_name
    from challenge.data.challenges.challenge import read_manifest
    from challenge.data.layout import Hidden, Workspace

    expect_name(challenge, "seal")
    place = Workspace(workspace)
    public = place.public(challenge)
    read_manifest(public)
    use(public)
    sealed.tell(public, Hidden(hidden) if hidden else place.hidden(challenge))
