"""The workspace that a command works in."""

from __future__ import annotations

from pathlib import Path

from challenge.cli.shared.options import WORKSPACE

DEPTHS = {"runs": 2, "entries": 1, "hidden": 1, "public": 1}
"""Folders of a workspace, and how deep in each its things lie: `runs/CHALLENGE/NAME`."""


def find_workspace(given: Path, *paths: Path) -> Path:
    """As given; else the workspace that the first of the paths lies in; else the default.

    Args:
        given: the option's value; its default, `workspace`, counts as not given.
        paths: runs, entries, hidden or public folders.
    """
    if given != WORKSPACE:
        return given
    for path in paths:
        parents = path.resolve().parents
        for name, depth in DEPTHS.items():
            if len(parents) > depth and parents[depth - 1].name == name:
                home = parents[depth]
                if name == "entries" and not (home / "public").is_dir():
                    continue  # any folder of zips may be called so
                # As the user wrote it, where that names the workspace.
                return path.parents[depth] if len(path.parts) > depth + 1 else home
    return WORKSPACE
