"""`challenge reveal`: verify the seal, unlock the final part, write the page of the last day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared.options import WORKSPACE, PreparedChallenge, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.judging.result import Result


def reveal(
    challenge: PreparedChallenge,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write; by default WORKSPACE/final/NAME."),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Open the final part and write the page of the last day.

    The seal is verified first, as `challenge seal` does it. Then the moment is written down in the
    hidden folder, for good: what is received later does not count. The page has the podium, ties
    and how stable the ranks are, all teams on hidden images, and a sheet for each team. Beside it
    lie every score of every image as CSV, and figures and tables as files.

    The deadline must have passed; a challenge with a final part needs one. Called again, it writes
    the same page again.

    Example: challenge reveal deblur
    """
    from challenge.cli.shared import sealed
    from challenge.cli.shared.console import say, show
    from challenge.cli.shared.kinds import expect_name
    from challenge.data import atomic
    from challenge.data.layout import Workspace
    from challenge.submissions import layout
    from challenge.submissions.judging import result_files
    from challenge.submissions.judging import reveal as revealing
    from challenge.submissions.reports import final_files

    expect_name(challenge, "reveal")
    place = Workspace(workspace)
    opened = open_prepared(place.public(challenge), verify=True)
    found = [
        each
        for each in result_files.read_all(place, challenge)
        if each.challenge.hash == opened.hash
    ]
    hidden = place.hidden(challenge)
    revealing.expect_due(opened.config, hidden)
    _look(opened, place, found)
    seal = sealed.tell(place.public(challenge), hidden)
    # All that may fail comes first, for the reveal is for good.
    revealed = revealing.record(hidden, seal)
    final = final_files.build(place, opened, found, revealed)
    folder = out or layout.final(place, challenge)
    with atomic.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    revealing.unlock(hidden, seal, revealed.at)
    written = final_files.write(folder, final)
    show(f"revealed {revealed.at:%Y-%m-%d %H:%M} UTC: {final.verdict}")
    if opened.config.rules.final_share is not None:
        say(f"`challenge board {challenge} --final` shows the ranking in a terminal")
    for path, what in written:
        show(f"{what:9}{path}")


def _look(challenge: Challenge, place: Workspace, results: list[Result]) -> None:
    """Say what is not judged.

    Raises:
        UserError: nothing was judged.
    """
    from challenge.cli.shared.console import warn
    from challenge.configs.errors import UserError
    from challenge.submissions.judging import received, result_files

    name = challenge.config.name
    if not results:
        hidden = place.hidden(name).path
        remedy = f"judge entries with `challenge score ENTRY.zip --hidden {hidden}`"
        raise UserError.of(place.path, f"has no results of `{name}`", remedy)
    judged = {each.entry.hash for each in result_files.read_all(place)}
    waiting = [each for entry, each in received.read(place).items() if entry not in judged]
    for each in waiting:
        warn(f"received and not judged: {each.team or '?'} {each.file}")
