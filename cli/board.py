"""`challenge board`: the ranking over judged entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared.options import WORKSPACE, JsonOption, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared

if TYPE_CHECKING:
    from challenge.submissions.judging.board import Row


def board(
    challenge: Annotated[
        str | None, typer.Argument(help="A challenge; needed where several have results.")
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Show the ranking by mean PSNR, then mean SSIM.

    One row per team and method; what does not count stands below, with the reason.

    Example: challenge board --json
    """
    from challenge.cli.shared.console import say, show_json
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries import teams
    from challenge.submissions.judging import result_files
    from challenge.submissions.judging.board import remarks, rows

    place = Workspace(workspace)
    found = result_files.read_all(place, challenge)
    names = sorted({each.challenge.name for each in found})
    if not names:
        remedy = "judge entries with `challenge score ENTRY.zip --hidden HIDDEN`"
        raise UserError.of(workspace, "has no judged entries", remedy)
    if len(names) > 1:
        raise UserError.of(workspace, f"has results of {', '.join(names)}", "name one of them")
    opened = open_prepared(place.public(names[0]))
    made = rows(found, opened.config.rules, teams.load(place), opened.hash)
    if as_json:
        listed = teams.load(place)
        members = {name: team.members for name, team in listed.teams.items()} if listed else {}
        show_json(_json(names[0], opened.practice, opened.seal, made, members))
        return
    _show(names[0], opened.practice, made)
    for remark in remarks(made):
        say(remark)
    if opened.practice:
        say("practice: the truth of this challenge is in everybody's scikit-image")


def _json(
    name: str, practice: bool, seal: str, rows: list[Row], members: dict[str, list[str]]
) -> dict[str, Any]:
    from dataclasses import asdict

    from challenge.submissions.judging.board import remarks

    return {
        "format": 1,
        "challenge": name,
        "practice": practice,
        "seal": seal,
        "remarks": remarks(rows),
        "rows": [asdict(row) | {"members": members.get(row.team, [])} for row in rows],
    }


def _show(name: str, practice: bool, rows: list[Row]) -> None:
    from challenge.cli.shared.console import say, table
    from challenge.cli.shared.format import clock

    lines = []
    for row in rows:
        interval = f"[{row.low:.2f}, {row.high:.2f}]" if row.low and row.high else ""
        lines.append(
            (
                str(row.rank or "-"),
                row.team or "?",
                row.name,
                f"{row.psnr:.2f}" if row.psnr is not None else row.outcome,
                interval,
                f"{row.ssim:.4f}" if row.ssim is not None else "",
                clock(row.seconds) if row.seconds is not None else "",
            )
        )
    table(
        ("", "team", "method", "PSNR (dB)", "95 %", "SSIM", "time"),
        lines,
        title=f"{name}{' (practice)' if practice else ''}",
        left=("team", "method"),
    )
    for row in rows:
        if row.note:
            say(f"{row.team} {row.name}: {row.note}")
