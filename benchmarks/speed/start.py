"""`challenge --help` beside the help of an empty Typer app, as whole processes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.speed.timing import Result, paired

EMPTY = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def nothing() -> None:
    "Nothing."
app()
"""
OURS = "from challenge.cli.main import main; main()"


def run(quick: bool = False) -> list[Result]:
    """One result: the ratio of the two start-up times."""

    def help_of(script: str) -> Any:
        return subprocess.run(
            [sys.executable, "-c", script, "--help"], stdout=subprocess.DEVNULL, check=True
        )

    ratio, ours, empty = paired(
        lambda: help_of(OURS), lambda: help_of(EMPTY), pairs=5 if quick else 21
    )
    return [
        {
            "what": "`challenge --help`, beside an empty Typer app",
            "measured": ratio,
            "target": 1.4,
            "better": "lower",
            "unit": "x its time",
            "detail": f"{ours * 1e3:.0f} ms and {empty * 1e3:.0f} ms",
        }
    ]
