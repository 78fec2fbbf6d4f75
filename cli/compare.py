"""`challenge compare`: several methods on the same val images, in one table and one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared.dry_run import watch_each
from challenge.cli.shared.format import count, signed
from challenge.cli.shared.options import (
    WORKSPACE,
    Comparable,
    ComparedChallenge,
    IsolationOption,
    JsonOption,
    WorkspaceOption,
)
from challenge.cli.shared.workspace import find_workspace, open_prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from challenge.cli.shared.console import Cell
    from challenge.data.challenges.challenge import Challenge
    from challenge.submissions.reports.candidates import Failure
    from challenge.submissions.reports.comparison import Compared

NAME = 14
"""Characters of a line of a name: five methods and all columns fit into 80."""


def compare(
    paths: Comparable,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture, a PNG.")] = Path(
        "comparison.png"
    ),
    images: Annotated[
        str | None,
        typer.Option(
            metavar="ID,ID",
            help="Images of val in the picture; by default those that tell the most.",
        ),
    ] = None,
    challenge: ComparedChallenge = None,
    level: IsolationOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Compare methods on the same val images.

    A table with scores, costs, and the mean difference of PSNR to the first method, image by
    image, with its 95 % bootstrap-t interval; and a picture with a magnified region and the errors.
    What `challenge infer` left in a run is used while it is that of its weights; all else is
    reconstructed now, in the judge's jail. Seconds are those of the time of reconstructing.

    A method that fails has a row that says so, and the others are compared all the same.

    Example: challenge compare workspace/runs/deblur/tv workspace/entries/alpha-unet.zip unet
    """
    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import progress, show, show_json
    from challenge.data.layout import Workspace
    from challenge.submissions import scratch
    from challenge.submissions.jail.probe import choose
    from challenge.submissions.reports import (
        candidates,
        comparison,
        comparison_pictures,
        images_to_show,
    )

    kinds.expect_png_to_be(out, "comparison.png")
    there = [path for path in paths if path.exists()]
    kinds.expect(there, "run", "entry", also=kinds.ZIPS)
    found = candidates.look_at(paths, challenge)
    place = Workspace(find_workspace(workspace, *(each.path for each in found)))
    opened = open_prepared(place.public(found[0].challenge))
    found, refused = candidates.check_candidates(found, opened)
    asked = [each.strip() for each in (images or "").split(",") if each.strip()]
    shown = images_to_show.requested_images(asked, opened)
    chosen = None if level is None else choose.choose(level)
    with scratch.folder("compare") as folder:
        with progress() as report:
            done = comparison.compare(
                found,
                opened,
                folder,
                level=chosen,
                progress=watch_each(report, opened.config.limits.minutes),
                scored=report,
            )
        compared, failed = done.compared, (*refused, *done.failed)
        if compared:
            scores = {each.candidate.name: each.scores for each in compared}
            told = images_to_show.informative_images(scores)
            shown = shown or comparison_pictures.fitting(told, compared, opened)
            comparison_pictures.draw(out, compared, opened, shown)
    if as_json:
        show_json(_json(compared, failed, opened, shown, out))
    elif compared:
        _show(compared, failed, opened)
        show(f"look at {out}")
    for each in failed:
        _explain(each)
    if failed:
        raise typer.Exit(1)


def _explain(failure: Failure) -> None:
    """Why a method has no scores, with the remedy or the last of what it printed."""
    from challenge.cli.shared.console import say, say_output

    name = failure.candidate.name
    if not failure.mistakes:
        say(f"{name}: {failure.outcome}: {failure.cause}")
    for mistake in failure.mistakes:
        say(f"{name}: {failure.outcome}: {mistake}")
    say_output(failure.log)


def _show(compared: Sequence[Compared], failed: Sequence[Failure], challenge: Challenge) -> None:
    from textwrap import wrap

    from challenge.cli.shared.console import table

    first = compared[0].candidate.name
    rows = []
    floats = any(each.scores.nmse for each in compared)
    for number, each in enumerate(compared):
        assert each.scores.psnr and each.scores.ssim
        row: list[Cell] = [
            wrap(each.candidate.name, NAME),
            f"{each.scores.psnr.mean:.2f}",
            f"{each.scores.ssim.mean:.4f}",
            *([f"{each.scores.nmse.mean:.4f}" if each.scores.nmse else ""] if floats else []),
            f"{each.seconds:.2f}" if each.seconds < 100 else f"{each.seconds:.0f}",
            f"{each.megabytes:.2f}",
            count(each.parameters),
        ]
        if len(compared) > 1:
            row.insert(2, signed(each.difference) if number else "")
        rows.append(row)
    for failure in failed:
        cells: list[Cell] = [wrap(failure.candidate.name, NAME), failure.outcome]
        rows.append([*cells, *[""] * (len(rows[0]) - len(cells))])
    columns: list[Cell] = [
        "method",
        ("PSNR", "(dB)"),
        "SSIM",
        *(["NMSE"] if floats else []),
        ("s an", "image"),
        "MB",
        "parameters",
    ]
    if len(compared) > 1:
        columns.insert(2, [*wrap(f"over {first}", 20), "[95 %]"])
    images = len(compared[0].scores.images)
    title = f"{challenge.config.name}, {images} image{'s' * (images != 1)} of val"
    table(columns, rows, title=title, left=("method",))


def _json(
    compared: Sequence[Compared],
    failed: Sequence[Failure],
    challenge: Challenge,
    shown: Sequence[tuple[str, str]],
    out: Path,
) -> dict[str, Any]:
    return {
        "format": 1,
        "challenge": challenge.config.name,
        "split": "val",
        "first": compared[0].candidate.name if compared else None,
        "methods": [
            {
                "name": each.candidate.name,
                "path": str(each.candidate.path),
                "reused": each.reused,
                "seconds": each.seconds,
                "megabytes": each.megabytes,
                "parameters": each.parameters,
                "difference": each.difference.to_json(),
                **each.scores.to_json(),
            }
            for each in compared
        ],
        "failed": [
            {
                "name": each.candidate.name,
                "path": str(each.candidate.path),
                "outcome": each.outcome,
                "cause": each.cause,
            }
            for each in failed
        ],
        "picture": {
            "file": str(out),
            "images": [{"id": identity, "reason": reason} for identity, reason in shown],
        }
        if compared
        else None,
    }
