"""`challenge infer`: a run on val, by the judge's own code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.options import JsonOption, find_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from challenge.cli.console import Report
    from challenge.submissions.judge import Inference, Step


def infer(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    as_json: JsonOption = False,
    workspace: Annotated[
        Path | None,
        typer.Option(envvar="CHALLENGE_WORKSPACE", help="By default the run's own workspace."),
    ] = None,
) -> None:
    """Reconstruct val with a run, timed against the limit.

    Leaves reconstructions and pictures in the run. The time that the whole hidden test set
    would take is projected after each image.

    Example: challenge infer workspace/runs/deblur/tv
    """
    from dataclasses import asdict

    from challenge.cli.console import progress, show, show_json
    from challenge.data.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.submissions import layout, runs
    from challenge.submissions.trial import infer_run

    made = layout.Run(run)
    place = Workspace(find_workspace(run, workspace))
    challenge = open_challenge(place.public(runs.facts(made)["challenge"]["name"]).path)
    with progress() as report:
        found = infer_run(
            made, challenge, progress=watch(report, "infer", challenge.config.limits.minutes)
        )
    if as_json:
        show_json(asdict(found))
    else:
        show(timing(found, len(challenge.ids("test")), challenge.config.limits.minutes))
        show(f"pictures  {made.reconstructions('val')}")
    if not went_well(found):
        raise typer.Exit(1)


def watch(report: Report, what: str, minutes: float) -> Callable[[Step], None]:
    """Show the projected total after each image; warn once when it exceeds the limit."""
    from challenge.cli.console import warn

    warned = False

    def step(done: Step) -> None:
        nonlocal warned
        report(what, done.done, done.total, f"projected total {clock(done.projected)}")
        if done.projected > minutes * 60 and not warned:
            warned = True
            warn(
                f"at this pace the test set takes {clock(done.projected)}, "
                f"the limit is {clock(minutes * 60)}"
            )

    return step


def timing(found: Inference, planned: int, minutes: float) -> str:
    """Time against the limit, in one line."""
    images = len(found.seconds)
    spent = sum(found.seconds.values())
    projected = found.start_up + spent / max(images, 1) * planned
    return (
        f"time      {images} images in {found.total:.1f} s: {found.start_up:.1f} s to start, "
        f"{spent / max(images, 1):.2f} s an image; the {planned} of the test set "
        f"would take {clock(projected)} of {clock(minutes * 60)}"
    )


def clock(seconds: float) -> str:
    """Seconds as a person says them: `48 s`, `3:20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02} min"


def went_well(found: Inference) -> bool:
    """Whether a dry run is `ok`; says otherwise what happened, with the team's own log."""
    from challenge.cli.console import say

    if found.outcome == "ok":
        return True
    say(f"outcome   {found.outcome}: {found.cause}")
    if found.log.strip():
        say(f"its output, last lines:\n{_tail(found.log)}")
    return False


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join("  " + line for line in text.rstrip().splitlines()[-lines:])
