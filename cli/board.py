"""`challenge board`: the ranking over judged entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, JsonOption, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared

if TYPE_CHECKING:
    from challenge.configs.errors import UserError
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.judging.board import Row


def board(
    challenge: Annotated[
        str | None,
        typer.Argument(
            help="A challenge; needed where several have results.",
            autocompletion=completion.prepared,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every entry, not one of each team only.")
    ] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Show the ranking by mean PSNR, then mean SSIM.

    One row a team: its latest valid entry, or its best one, as the challenge's rules say. What
    does not count stands below, with the reason. Baselines stand where they belong, unranked.

    Example: challenge board --json
    """
    from challenge.cli.shared.console import say, show_json
    from challenge.cli.shared.kinds import expect_name
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries import teams
    from challenge.submissions.judging import received, result_files
    from challenge.submissions.judging.board import rows
    from challenge.submissions.judging.remarks import remarks

    if challenge is not None:
        expect_name(challenge, "board")
    place = Workspace(workspace)
    found = result_files.read_all(place, challenge)
    names = sorted({each.challenge.name for each in found})
    if not names:
        raise _no_results(place, challenge)
    if len(names) > 1:
        raise UserError.of(workspace, f"has results of {', '.join(names)}", "name one of them")
    opened = open_prepared(place.public(names[0]), verify=True)
    other = sum(each.challenge.hash != opened.hash for each in found)
    listed = teams.load(place)
    made = rows(
        found,
        opened.config.rules,
        listed,
        opened.hash,
        limits=opened.config.limits,
        sights=received.read(place),
        everything=True,
    )
    shown = [row for row in made if row.main or everything]
    if as_json:
        members = {name: team.members for name, team in listed.teams.items()} if listed else {}
        show_json(_json(opened, shown, remarks(made), members))
        return
    _show(names[0], opened.practice, shown)
    if other:
        say(
            f"{other} verdict{'s' * (other != 1)} on another preparation of {names[0]} "
            f"{'are' if other != 1 else 'is'} not shown"
        )
    for line in (*_about_entries(made, everything), *_about_rules(opened), *remarks(made)):
        say(line)
    if opened.practice:
        say("practice: the truth of this challenge is in everybody's scikit-image")


def _no_results(place: Workspace, challenge: str | None) -> UserError:
    """Why there is nothing to rank."""
    from challenge.configs import spelling
    from challenge.configs.errors import UserError
    from challenge.data.challenges.challenge import read_manifest
    from challenge.submissions.judging import result_files

    judged = sorted({each.challenge.name for each in result_files.read_all(place)})
    if challenge is not None:
        if judged:
            known = f"there are results of {', '.join(judged)}"
            remedy = spelling.did_you_mean(challenge, judged, known)
            return UserError.of(place.path, f"has no results of `{challenge}`", remedy)
        read_manifest(place.public(challenge))  # says what is prepared
    remedy = "judge entries with `challenge score ENTRY.zip --hidden HIDDEN`"
    return UserError.of(place.path, "has no judged entries", remedy)


def _json(
    challenge: Challenge, rows: list[Row], remarks: list[str], members: dict[str, list[str]]
) -> dict[str, Any]:
    standing = challenge.standing
    return {
        "format": 2,
        "challenge": challenge.config.name,
        "practice": challenge.practice,
        "seal": challenge.seal,
        "rules": challenge.config.rules.model_dump(mode="json"),
        "limits": challenge.config.limits.model_dump(mode="json"),
        "changes": [each.model_dump(mode="json") for each in standing.changes],
        "rules_digest": standing.digest,
        "remarks": remarks,
        "rows": [row.to_json() | {"members": members.get(row.team, [])} for row in rows],
    }


def _about_entries(rows: list[Row], everything: bool) -> list[str]:
    """Why entries do not count, and what a reader must know of those that do, a line each.

    Args:
        everything: also of those that another entry of their team goes before.
    """
    from datetime import datetime

    from challenge.data.challenges.rules import shown

    lines = []
    for row in rows:
        who = f"{row.team or '?'} {row.name}"
        if not row.counts and (everything or not row.note.endswith(" counts")):
            when = shown(datetime.fromisoformat(row.received))
            lines.append(f"does not count: {who}, received {when}: {row.note}")
        lines += [f"{who}: {each}" for each in (*row.doubts, *row.alike)]
    return lines


def _about_rules(challenge: Challenge) -> list[str]:
    """Which entries count, and every change of the rules since the challenge was published."""
    from challenge.data.challenges.rules import shown
    from challenge.submissions.judging.remarks import rule

    standing = challenge.standing
    changes = [f"changed {shown(each.at)}: {each}" for each in standing.changes]
    return [
        rule(challenge.config.rules),
        f"rules {standing.digest[:16]}: {standing.version}",
        *changes,
    ]


def _show(name: str, practice: bool, rows: list[Row]) -> None:
    from challenge.cli.shared.console import table
    from challenge.cli.shared.format import clock

    lines = []
    floats = any(row.nmse is not None for row in rows)
    for row in rows:
        interval = f"[{row.low:.2f}, {row.high:.2f}]" if row.low and row.high else ""
        lines.append(
            (
                "" if row.baseline and row.counts else str(row.rank or "-"),
                f"({row.team})" if row.baseline else row.team or "?",
                row.name,
                f"{row.psnr:.2f}" if row.psnr is not None else row.outcome,
                interval,
                f"{row.ssim:.4f}" if row.ssim is not None else "",
                *([f"{row.nmse:.4f}" if row.nmse is not None else ""] if floats else []),
                clock(row.seconds) if row.seconds is not None else "",
            )
        )
    table(
        ("", "team", "method", "PSNR (dB)", "95 %", "SSIM", *(["NMSE"] if floats else []), "time"),
        lines,
        title=f"{name}{' (practice)' if practice else ''}",
        left=("team", "method"),
    )
