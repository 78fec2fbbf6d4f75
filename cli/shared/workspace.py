"""The workspace that a command works in."""

from __future__ import annotations

from pathlib import Path

from challenge.cli.shared.options import WORKSPACE


def find_workspace(given: Path, *paths: Path) -> Path:
    """As given; else the workspace that the first of the paths lies in; else the default.

    Args:
        given: the option's value; its default, `workspace`, counts as not given.
        paths: runs, entries, hidden or public folders.
    """
    from challenge.submissions.layout import workspace_of

    if given != WORKSPACE:
        return given
    places = (workspace_of(path) for path in paths)
    return next((place.path for place in places if place is not None), WORKSPACE)
