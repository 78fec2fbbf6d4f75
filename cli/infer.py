"""`challenge infer`: a run on val, by the judge's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.dry_run import Ahead, timing, watch, went_well
from challenge.cli.shared.options import WORKSPACE, JsonOption, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace, open_prepared


def infer(
    run: Annotated[Path, typer.Argument(help="A finished run.", autocompletion=completion.runs)],
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Reconstruct val with a run, timed against the limit.

    Leaves reconstructions and pictures in the run. The time that the whole hidden test set
    would take is projected after each image, and how long it will take on the judge's machine
    where the kit says how fast that is.

    Example: challenge infer workspace/runs/deblur/tv
    """
    from dataclasses import asdict

    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import progress, show, show_json, warn
    from challenge.data.layout import Workspace
    from challenge.submissions import layout
    from challenge.submissions.judging.trial import hints
    from challenge.submissions.judging.trial import infer as infer_run
    from challenge.submissions.runs.facts import read_facts

    kinds.expect([run], "run")
    made = layout.Run(run)
    place = Workspace(find_workspace(workspace, run))
    challenge = open_prepared(place.public(read_facts(made).challenge.name))
    ahead = Ahead(place, challenge)
    with progress() as report:
        step = watch(report, "infer", challenge.config.limits.minutes)
        found = infer_run(made, challenge, progress=ahead.watch(step))
    forecast = ahead.forecast_of(found)
    if as_json:
        show_json(asdict(found) | {"forecast": asdict(forecast) if forecast else None})
    else:
        show(timing(found, challenge.test.count, challenge.config.limits.minutes))
        ahead.show(forecast)
        if found.outcome == "ok":
            show(f"pictures  {made.reconstructions('val')}")
    ahead.warn(forecast)
    if not went_well(found):
        raise typer.Exit(1)
    for hint in hints(made.reconstructions("val"), challenge):
        warn(hint)
