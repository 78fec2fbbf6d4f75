"""`challenge board`: the ranking over judged entries."""

from __future__ import annotations

from pathlib import Path
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
    from challenge.submissions.judging.evidence import Evidence
    from challenge.submissions.judging.parts import Part
    from challenge.submissions.judging.result import Result


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
    public: Annotated[
        bool, typer.Option("--public", help="The images of the week, where the rules split them.")
    ] = False,
    final: Annotated[
        bool, typer.Option("--final", help="The images of the last day, and none but those.")
    ] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write the rows, for a spreadsheet."),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Show the ranking by mean PSNR, then mean SSIM.

    One row a team: its latest valid entry, or its best one, as the challenge's rules say. What
    does not count stands below, with the reason. Baselines stand where they belong, unranked.

    Rows of one letter in `tie` are not told apart on these images, and a row's rank is a range
    where others may be better or worse by chance. `to next` is the difference of PSNR to the row
    below, image by image; `clear` where it is not chance. Both keep false alarms to 5 boards in
    100, over all of a board's differences. Intervals are those of means over images, 95 %.

    Where `rules.final_share` splits the test set, the board is about its public part, and with
    `--final` about the rest.

    Example: challenge board --csv board.csv
    """
    from challenge.cli.shared import board_table
    from challenge.cli.shared.console import say, show_json
    from challenge.cli.shared.kinds import expect_name
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries import teams
    from challenge.submissions.judging import evidence, received, result_files
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
    part = _part(opened, public, final)
    if part is not None:
        found = _restricted(opened, place, found, part)
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
    weighed = evidence.weigh(made)
    members = {name: team.members for name, team in listed.teams.items()} if listed else {}
    if as_csv is not None:
        _write_csv(as_csv, shown, weighed, members)
    if as_json:
        show_json(_json(opened, shown, weighed, remarks(made), members) | {"part": part or "all"})
        return
    images = f", {weighed.images} image{'s' * (weighed.images != 1)}" if weighed.images else ""
    title = f"{names[0]}{' (practice)' if opened.practice else ''}"
    title += f", {part} part{images}" if part else images
    board_table.show(title, shown, weighed)
    board_table.show_days(made)
    for line in (*evidence.remarks(weighed), *(() if part else _foreseen(opened, weighed))):
        say(line)
    if other:
        say(
            f"{other} verdict{'s' * (other != 1)} on another preparation of {names[0]} "
            f"{'are' if other != 1 else 'is'} not shown"
        )
    for line in (*_about_entries(made, everything), *_about_rules(opened), *remarks(made)):
        say(line)
    if opened.practice:
        say("practice: the truth of this challenge is in everybody's scikit-image")


def _part(challenge: Challenge, public: bool, final: bool) -> Part | None:
    """Which images the board is about; None: all.

    Raises:
        UserError: the challenge has no parts, or both are wanted.
    """
    from challenge.configs.errors import UserError

    option = "--final" if final else "--public"
    if challenge.config.rules.final_share is None:
        if public or final:
            cause = "has no parts: its `rules.final_share` is null"
            raise UserError.of(challenge.path, cause, f"leave `{option}` out")
        return None
    if public and final:
        raise UserError.of("`--public --final`", "are two boards", "ask for one of them")
    return "final" if final else "public"


def _restricted(
    challenge: Challenge, place: Workspace, results: list[Result], part: Part
) -> list[Result]:
    """The verdicts on one part of the test set; the hidden folder says which images it has."""
    from challenge.configs.errors import UserError
    from challenge.submissions.judging import parts

    hidden, share = place.hidden(challenge.config.name), challenge.config.rules.final_share
    if not hidden.key.is_file():
        cause = "is not here, and its key says which images are of which part"
        raise UserError.of(hidden.path, cause, "give the organiser's `--workspace`")
    split = parts.split(hidden.ids(), hidden.key.read_bytes(), share or 0.5)
    return parts.restrict(results, split[part])


def _foreseen(challenge: Challenge, weighed: Evidence) -> list[str]:
    """The resolution that `prepare` told, where the entries do not tell it yet."""
    from challenge.data.layout import Public
    from challenge.submissions.scoring import foreseen

    found = foreseen.read(Public(challenge.path))
    if found is None or weighed.resolution is not None:
        return []
    return [line for line in foreseen.lines(challenge.test.count, found) if "Resolution" in line]


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
    challenge: Challenge,
    rows: list[Row],
    weighed: Evidence,
    remarks: list[str],
    members: dict[str, list[str]],
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
        "evidence": weighed.to_json(),
        "rows": [_row(row, weighed, members.get(row.team, [])) for row in rows],
    }


def _row(row: Row, weighed: Evidence, members: list[str]) -> dict[str, Any]:
    from dataclasses import asdict

    place = weighed.places.get(row.entry)
    found = asdict(row) | {"members": members, "place": asdict(place) if place else None}
    del found["images"]
    return {key: value for key, value in found.items() if key != "nmse" or value is not None}


def _write_csv(
    path: Path, rows: list[Row], weighed: Evidence, members: dict[str, list[str]]
) -> None:
    from challenge.cli.shared.console import say
    from challenge.data import atomic
    from challenge.submissions.judging import board_csv

    atomic.write_text(path, board_csv.text(rows, weighed, members))
    say(f"wrote {path}")


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
