"""Errors that are neither a `UserError` nor a bug of ours: a team's own code, the disk."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path

from challenge.configs.errors import UserError

SHOWN = 12
"""Frames of a traceback that are shown, those of the end."""


def explain(error: Exception, command: Sequence[str]) -> int | None:
    """Say what went wrong; the exit code. None for an error that keeps its traceback.

    Args:
        command: the arguments that were given, to be repeated for the whole traceback.
    """
    from challenge.cli.shared.console import fail, say, say_block
    from challenge.data.atomic import disk_mistake
    from challenge.methods import plugin

    own = team_frames(error)
    if own and isinstance(error, ModuleNotFoundError):
        # A function of its own may import as well.
        try:
            plugin.explain(error, Path(own[-1].filename).parent)
        except UserError as hint:
            fail(hint)
            return 2
    if own:
        text = "".join(traceback.format_list(own[-SHOWN:]))
        left = f"  ... {len(own) - SHOWN} more\n" if len(own) > SHOWN else ""
        said = "".join(traceback.format_exception_only(error)).strip()
        again = shlex.join(["challenge", "--traceback", *command])
        say_block("error: in the method's own code", f"{left}{text}{said}")
        say(f"whole traceback: {again}")
        return 1
    if isinstance(error, OSError):
        mistake = disk_mistake(error, error.filename or "the disk")
        if mistake is not None:
            fail(mistake)
            return 2
    return None


def team_frames(error: BaseException) -> traceback.StackSummary:
    """The frames of a traceback that lie in a team's own files."""
    from challenge.methods.plugin import PACKAGES

    walked = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith(PACKAGES)
    ]
    return traceback.StackSummary.extract(iter(walked))
