"""`challenge report`: one or several methods on one page, or on slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared.dry_run import watch_each
from challenge.cli.shared.options import (
    WORKSPACE,
    Comparable,
    ComparedChallenge,
    IsolationOption,
    WorkspaceOption,
)
from challenge.cli.shared.workspace import find_workspace, open_prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from challenge.submissions.reports.presentation.subjects import Subject


def report(
    paths: Comparable,
    slides: Annotated[
        bool, typer.Option("--slides", help="Slides of 16:9 in place of a page.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="By default report.html, or slides.html."),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write figures as SVG and PNG, tables as CSV and Markdown.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="ID,ID", help="Images of val; by default those that tell the most."),
    ] = None,
    challenge: ComparedChallenge = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Reconstruct and analyse nothing: only what is there."),
    ] = False,
    level: IsolationOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Present methods: one HTML file that opens from disk.

    The problem, architecture, training, scores on val with intervals, images, time against the
    limits, convergence where a theorem speaks of the method, and how to reproduce it. The first
    method is what the others are compared with. What `challenge infer` left in a run is used; all
    else is reconstructed now, in the judge's jail. What there is not is left out with a sentence.

    Runs open in this process, as in training; an entry that brings code of its own does not, and
    its layers are those of its weights.

    Slides go on by the arrow keys; printed, each is a page, so that a browser makes a PDF of them.

    Example: challenge report workspace/runs/deblur/tv unet --slides
    """
    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import progress, show
    from challenge.data import atomic
    from challenge.data.layout import Workspace
    from challenge.submissions import scratch
    from challenge.submissions.jail.probe import choose
    from challenge.submissions.reports import candidates, images_to_show
    from challenge.submissions.reports.presentation import report as reports
    from challenge.submissions.reports.presentation import subjects

    usual = "slides.html" if slides else "report.html"
    out = out or Path(usual)
    kinds.expect_file_to_be(out, usual, "an HTML file")
    if files is not None:
        _expect_folder(files)
    there = [path for path in paths if path.exists()]
    kinds.expect(there, "run", "entry", also=kinds.ZIPS)
    found = candidates.look_at(paths, challenge)
    place = Workspace(find_workspace(workspace, *(each.path for each in found)))
    opened = open_prepared(place.public(found[0].challenge))
    asked = [each.strip() for each in (images or "").split(",") if each.strip()]
    shown = images_to_show.requested_images(asked, opened)
    chosen = None if level is None else choose.choose(level)
    with scratch.folder("report") as folder, progress() as said:
        gathered = subjects.gather(
            found,
            opened,
            folder,
            infer=not quick,
            level=chosen,
            progress=watch_each(said, opened.config.limits.minutes),
            scored=said,
        )
        made = reports.make(gathered, opened, shown=shown, analyse=not quick, progress=said)
    atomic.write_text(out, reports.deck(made) if slides else reports.page(made))
    _explain(gathered)
    if files is not None:
        show(f"{reports.write_files(made, files)} files in {files}")
    show(f"open {out} in a browser")


def _expect_folder(files: Path) -> None:
    from challenge.configs.errors import UserError

    if files.exists() and not files.is_dir():
        raise UserError.of(f"--files {files}", "is a file", "give a folder, which may be new")


def _explain(subjects: Sequence[Subject]) -> None:
    """Why a method has no scores; the report says so too."""
    from challenge.cli.shared.console import say

    for each in subjects:
        if each.failure is not None:
            for line in each.failure.mistakes or (each.failure.cause,):
                say(f"{each.name}: {each.failure.outcome}: {line}")
