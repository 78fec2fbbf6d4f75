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
    from challenge.cli.shared.console import progress, say, show
    from challenge.cli.shared.kinds import expect, expect_name
    from challenge.data.challenges import rules
    from challenge.data.challenges import seal as sealed
    from challenge.data.challenges.challenge import open_challenge, read_manifest
    from challenge.data.hashing import digest
    from challenge.data.layout import Hidden, Workspace

    expect_name(challenge, "seal")
    place = Workspace(workspace)
    public = place.public(challenge)
    folder = Hidden(hidden) if hidden else place.hidden(challenge)
    read_manifest(public)
    expect([folder.path], "hidden")
    use(public)
    found = sealed.verify(public, folder)
    # After it, for it takes seconds: a broken seal is told at once.
    from challenge.data.challenges.verify import verify

    with progress() as report:
        done = verify(public, folder, report)
    show(f"the seal holds: {found}")
    opened = open_challenge(public.path)
    if folder.sources.exists() and opened.config.images.source in ("folder", "slices"):
        say(f"publish {folder.path} without {folder.sources.name}, which names files of yours")
    covered = "truth, measurements," if "measurements" in sealed.read(folder) else "truth,"
    standing = opened.standing
    rules.compare(public, folder.rules, standing)
    show(f"{covered} noise key and metric are those the challenge was published with")
    show(f"manifest holds: {digest(public.manifest)}")
    show(f"none of the {done.files} files of the public folder was changed, none is new")
    close = f"but for {done.difference:.1g} of a pixel" if done.difference else "bit for bit"
    show(f"all {done.measurements} measurements follow from truth, operator and key, {close}")
    show(f"rules {standing.digest[:16]}: {standing.version}")
