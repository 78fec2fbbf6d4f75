"""`challenge demo`: the whole competition on the built-in images, by the commands themselves."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Call = Callable[[list[str]], int | None]
"""Runs one command of the app in this process; its exit code."""

BOARD, REPORT = "board.html", "report.html"
"""The pages that a demo ends with."""
FLAGSHIP = "ensemble"
"""The packaged entry that teams have to beat."""
MARKER = ".demo"
"""The file that tells a demo's folder from an organiser's workspace."""


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder for the demo's workspace.")] = Path(
        "challenge-demo"
    ),
    minutes: Annotated[
        float, typer.Option(help="Minutes of training for the small network.", min=0.05)
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Replace the demo's folder.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Judge on Dask's workers, as `score` does: `local`, `slurm`."
        ),
    ] = None,
) -> None:
    """Play a whole competition in three minutes, offline.

    Every step is one of the other commands, printed before it runs.

    Example: challenge demo
    """
    from challenge.cli.shared.console import say, show
    from challenge.configs.errors import UserError
    from challenge.data.atomic import remove_tree, write_text

    if scheduler:
        from challenge.submissions.judging import connection

        # It is used minutes later, and the folder of an older demo should still be there.
        connection.check(scheduler)
    if folder.exists():
        if not force:
            raise UserError.of(folder, "exists already", "give `--force` or name another folder")
        if not (folder / MARKER).is_file():
            raise UserError.of(
                folder, "is not the folder of a demo, so it is not replaced", "name another folder"
            )
        remove_tree(folder)
    write_text(folder / MARKER, "Made by `challenge demo`, which may replace this folder.\n")
    started = time.monotonic()
    for command in _story(folder, minutes, scheduler):
        say("")
        say(f"$ challenge {shlex.join(command)}")
        _call(command, context.obj)
    seconds = time.monotonic() - started
    reconstructions = folder / "runs" / "deblur" / "network" / "reconstructions" / "val"
    show("")
    show(f"The whole competition took {seconds:.0f} s. Open in a browser")
    show(f"  {folder / BOARD}: the board, with how stable its ranks are and what scores cost")
    show(f"  {folder / REPORT}: the network beside total variation, on val")
    show("Look at")
    show(f"  {folder / 'public' / 'deblur' / 'contact-val.png'}: truth and measurement")
    show(f"  {reconstructions}: the network on val")
    show(f"  {folder / 'hidden' / 'deblur' / 'judged'}: every entry on the hidden test set")


def _story(folder: Path, minutes: float, scheduler: str | None = None) -> list[list[str]]:
    """The commands of the demo: two teams with three entries, and the best packaged baseline."""
    from challenge.submissions.entries.teams import BASELINE

    workspace = ["--workspace", str(folder)]
    runs = folder / "runs" / "deblur"
    entries = {"wiener": "alpha", "tv": "beta", "network": "alpha"}
    story = [["prepare", "deblur", *workspace]]
    for name, team in entries.items():
        settings = [f"train.minutes={minutes:g}"] if name == "network" else []
        story += [
            ["train", name, *settings, *workspace],
            ["pack", str(runs / name), "--team", team],
        ]
    story += [["infer", str(runs / "network")], ["score", str(runs / "network")]]
    story += [["pack", FLAGSHIP, "--team", BASELINE, *workspace]]
    entries[FLAGSHIP] = BASELINE
    zips = [str(folder / "entries" / f"{team}-{name}.zip") for name, team in entries.items()]
    workers = ["--scheduler", scheduler] if scheduler else []
    story += [["score", *zips, "--hidden", str(folder / "hidden" / "deblur"), *workers]]
    story += [["board", "--html", str(folder / BOARD), *workspace]]
    # The first one is what the other is compared with.
    pair = [str(runs / "tv"), str(runs / "network")]
    story += [["report", *pair, "--out", str(folder / REPORT), *workspace]]
    return story


def _call(command: list[str], call: Call) -> None:
    """Run one command of the app in this process; its errors are the demo's."""
    sys.stdout.flush()
    if code := call(command):
        raise typer.Exit(code)
