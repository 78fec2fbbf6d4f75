"""Which level of isolation entries are judged at: as asked, or the strongest that holds here."""

from __future__ import annotations

from pathlib import Path

from challenge.configs.errors import UserError
from challenge.submissions.jail import levels
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.spawn import Jail


def choose(asked: str | None = None, *, official: bool = False) -> Level:
    """The level to judge at.

    Args:
        asked: a level by name; by default the strongest that holds on this machine.
        official: whether entries run beside the hidden truth; then a plain process is not enough
            unless it was asked for.

    Raises:
        UserError: there is no such level, it does not hold here, or it is too low.
    """
    if asked is None:
        level = probe.strongest()
        if official and levels.LEVELS.index(level) < levels.LEVELS.index(levels.REQUIRED):
            reasons = "; ".join(
                f"{each}: {probe.works(each)}" for each in reversed(levels.LEVELS[1:])
            )
            raise UserError.of(
                "this machine",
                f"cannot keep an entry from files and network ({reasons})",
                "judge on Linux 5.13 or newer, or say `--isolation process`: then the result "
                "and the board state that nothing was kept from the entries",
            )
        return level
    level = named(asked)
    if reason := probe.works(level):
        remedy = f"`challenge doctor --isolation {asked}` shows what fails"
        raise UserError.of(f"--isolation {asked}", reason, remedy)
    return level


def named(asked: str) -> Level:
    """The level of a name, whether or not it holds here; raises `UserError` if there is none."""
    for level in levels.LEVELS:
        if level == asked:
            return level
    raise UserError.of(
        "--isolation", f"there is no level `{asked}`", f"levels: {', '.join(levels.LEVELS)}"
    )


def jail(
    level: Level, runner: Path, *protected: Path, permitted: frozenset[str] | None = None
) -> Jail:
    """A jail for a program that keeps these files and folders closed, wherever they lie."""
    return Jail(level, runner, tuple(each.resolve() for each in protected), permitted=permitted)
