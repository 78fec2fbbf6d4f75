"""Reads a run's `log.jsonl`: one line for each report of the training, a JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from challenge.submissions.layout import Run, open_run


def read(run: Run) -> list[dict[str, Any]]:
    """The lines of the log in their order; what a killed process left half-written is left out."""
    if not run.log.exists():
        return []
    found = []
    for line in run.log.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def best(run: Run) -> dict[str, Any]:
    """The line with the highest PSNR on the tune part, empty where none has one."""
    lines = [line for line in read(run) if line.get("psnr") is not None]
    return max(lines, key=lambda line: line["psnr"], default={})


def curve(run: Run | Path | str, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of everything that was logged as `name`.

    Of an entry that was unpacked, those that it carries.
    """
    opened = open_run(run)
    if not opened.log.exists() and opened.packed_curves.is_file():
        from challenge.submissions.runs import curves

        found = curves.of(opened)
        each = found and found.curves.get(name)  # type: ignore[call-overload]
        return ([*each.steps], [*each.values]) if each else ([], [])
    lines = [line for line in read(opened) if line.get(name) is not None]
    return [line["step"] for line in lines], [line[name] for line in lines]
