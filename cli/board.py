"""`challenge board`: the ranking over judged entries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, JsonOption, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from challenge.configs.errors import UserError
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.judging.board import Row
    from challenge.submissions.judging.evidence import Evidence
    from challenge.submissions.judging.parts import Part


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
    as_html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page that opens from disk."),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write figures as SVG and PNG, tables as CSV and Markdown.",
        ),
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
    `--final` about the rest, which is closed until `challenge reveal`.

    `--html` writes one file with table and figures: scores with ties, how stable the ranks are,
    PSNR against time and parameters, learning curves. It asks no network for anything.

    Example: challenge board --csv board.csv
    """
    from challenge.cli.shared import board_table, kinds, pages
    from challenge.cli.shared.console import say, show_json
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.judging import result_files
    from challenge.submissions.judging.remarks import remarks
    from challenge.submissions.reports.standing import gather

    if challenge is not None:
        kinds.expect_name(challenge, "board")
    if as_html is not None:
        kinds.expect_file_to_be(as_html, "board.html", "an HTML file", "--html")
    place = Workspace(workspace)
    found = result_files.read_all(place, challenge)
    names = sorted({each.challenge.name for each in found})
    if not names:
        raise _no_results(place, challenge)
    if len(names) > 1:
        raise UserError.of(workspace, f"has results of {', '.join(names)}", "name one of them")
    opened = open_prepared(place.public(names[0]), verify=True)
    other = sum(each.challenge.hash != opened.hash for each in found)
    part = _part(opened, place, public, final)
    standing = gather(place, opened, found, part)
    made, weighed, members = standing.rows, standing.evidence, standing.members
    shown = [row for row in made if row.main or everything]
    if as_csv is not None:
        _write_csv(as_csv, shown, weighed, members)
    if as_html is not None or files is not None:
        pages.write_board(standing, as_html, files, everything=everything)
    if as_json:
        show_json(_json(opened, shown, weighed, remarks(made), members) | {"part": part or "all"})
        return
    images = f", {weighed.images} image{'s' * (weighed.images != 1)}" if weighed.images else ""
    title = f"{names[0]}{' (practice)' if opened.practice else ''}"
    title += f", {part} part{images}" if part else images
    board_table.show(title, shown, weighed)
    board_table.show_days(made)
    if other:
        say(
            f"{other} verdict{'s' * (other != 1)} on another preparation of {names[0]} "
            f"{'are' if other != 1 else 'is'} not shown"
        )
    for line in (*_about_entries(made, everything), *standing.remarks):
        say(line)


def _part(challenge: Challenge, place: Workspace, public: bool, final: bool) -> Part | None:
    """Which images the board is about; None: all.

    Raises:
        UserError: the challenge has no parts, both are wanted, or the final one is still closed.
    """
    from challenge.configs.errors import UserError
    from challenge.submissions.judging import reveal

    option, name = "--final" if final else "--public", challenge.config.name
    if challenge.config.rules.final_share is None:
        if public or final:
            cause = "has no parts: its `rules.final_share` is null"
            raise UserError.of(challenge.path, cause, f"leave `{option}` out")
        return None
    if public and final:
        raise UserError.of("`--public --final`", "are two boards", "ask for one of them")
    if final and reveal.read(place.hidden(name)) is None:
        cause = "is about images that are closed until the reveal"
        raise UserError.of("`--final`", cause, f"on the last day: `challenge reveal {name}`")
    return "final" if final else "public"


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
    rows: Sequence[Row],
    weighed: Evidence,
    remarks: list[str],
    members: Mapping[str, Sequence[str]],
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


def _row(row: Row, weighed: Evidence, members: Sequence[str]) -> dict[str, Any]:
    from dataclasses import asdict

    place = weighed.places.get(row.entry)
    found = asdict(row) | {"members": members, "place": asdict(place) if place else None}
    found["parameters"] = row.summary.parameters if row.summary else None
    del found["images"], found["summary"]
    return {key: value for key, value in found.items() if key != "nmse" or value is not None}


def _write_csv(
    path: Path, rows: Sequence[Row], weighed: Evidence, members: Mapping[str, Sequence[str]]
) -> None:
    from challenge.cli.shared.console import say
    from challenge.data import atomic
    from challenge.submissions.judging import board_csv

    atomic.write_text(path, board_csv.text(rows, weighed, members))
    say(f"wrote {path}")


def _about_entries(rows: Sequence[Row], everything: bool) -> list[str]:
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
