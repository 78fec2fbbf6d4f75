"""The workspace that a command works in, and the prepared challenges in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.cli.shared.options import WORKSPACE

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Public


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


def open_prepared(public: Public, *, verify: bool = False) -> Challenge:
    """Open a prepared challenge; says so where an older toolkit published its test measurements.

    Raises:
        UserError: it is not complete, or its rules are not those that the organiser's copy, where
            it lies in the same workspace, says.
    """
    from challenge.data.challenges import rules
    from challenge.data.challenges.challenge import open_challenge

    use(public)
    opened = open_challenge(public.path, verify=verify)
    own = opened.workspace.hidden(public.path.resolve().name).rules
    rules.compare(public, own, opened.standing)
    tell_format(public)
    return opened


_commands: list[tuple[str, ExitStack]] = []
"""The commands that run in this process, each with what it holds; `demo` runs others."""


@contextmanager
def command(name: str) -> Iterator[None]:
    """What a command `use`s is its own until its end."""
    with ExitStack() as held:
        _commands.append((name, held))
        try:
            yield
        finally:
            _commands.pop()


def use(public: Public) -> None:
    """Keep others from replacing a challenge while this command runs.

    Raises:
        UserError: it is being prepared; says by whom.
    """
    from challenge.data import locks
    from challenge.data.layout import Workspace

    if _commands and public.path.is_dir():
        name, held = _commands[-1]
        home = Workspace(public.path.resolve().parents[1])
        lock = home.lock(public.path.resolve().name)
        held.enter_context(locks.together(lock, public.path, f"is used by `{name}`,"))


def tell_format(public: Public) -> None:
    """Say what it means that a challenge has an older format."""
    from challenge.cli.shared.console import warn
    from challenge.data.challenges.challenge import PUBLISHING, read_manifest

    if (found := read_manifest(public)["format"]) == PUBLISHING:
        warn(
            f"{public.path} has format {found}: its test measurements are published; "
            f"`challenge prepare {public.path.name} --force` hides them, and makes its entries "
            "invalid"
        )


def tell_rules(challenge: Challenge) -> None:
    """Which rules an entry was held against; a team's copy may be older than the organiser's."""
    from datetime import UTC, datetime

    from challenge.cli.shared.console import say, warn
    from challenge.data.challenges.rules import shown

    deadline = challenge.config.rules.deadline
    newer = f"a newer `rules.yaml` of your organiser goes into {challenge.path}"
    if deadline is not None and datetime.now(UTC) > deadline:
        warn(f"the deadline was {shown(deadline)}, by rules {challenge.standing.version}; {newer}")
    elif challenge.standing.changes or deadline is not None:
        when = f", deadline {shown(deadline)}" if deadline else ""
        say(f"rules     {challenge.standing.version}{when}; {newer}")
