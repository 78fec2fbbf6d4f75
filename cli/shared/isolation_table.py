"""What `challenge doctor` shows of isolation: attempts made on this machine, expected and seen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from challenge.submissions.jail.levels import Level
    from challenge.submissions.jail.probe.expected import Seen


def tried(level: Level) -> dict[str, Any]:
    """Every attempt at one level, and why the level does not hold (empty where it does)."""
    from challenge.configs.schema.challenge import Limits, Rules
    from challenge.submissions.entries import packages
    from challenge.submissions.jail.probe import probe
    from challenge.submissions.jail.spawn import Jail

    reason = probe.works(level)
    if probe.available(level):
        return {"level": level, "fails": reason, "attempts": []}
    jail = Jail(level, probe.ATTEMPTING, permitted=packages.readable(Rules()))
    seen: list[Seen] = []
    try:
        seen += probe.attempts(jail)
        seen += probe.long_attempts(jail)
        seen += probe.computing(jail, Limits())
    except OSError as error:
        return {"level": level, "fails": str(error), "attempts": seen}
    broken = [each.name for each in seen if not each.as_promised]
    fails = reason or (f"not as promised: {', '.join(broken)}" if broken else "")
    return {"level": level, "fails": fails, "attempts": seen}


def levels_here() -> list[dict[str, str]]:
    """Every level, what it promises, and why it does not hold here (empty where it does)."""
    from challenge.submissions.jail import levels
    from challenge.submissions.jail.probe import probe

    return [
        {"level": each, "promises": levels.SUMMARY[each], "fails": probe.works(each)}
        for each in levels.LEVELS
    ]


def to_json(found: dict[str, Any], here: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The same for a program."""
    attempts = [asdict(seen) | {"as_promised": seen.as_promised} for seen in found["attempts"]]
    return {"levels": list(here), "tried": {**found, "attempts": attempts}}


def verdict(found: dict[str, Any], torch_fault: str | None) -> str:
    """Whether this machine can judge entries of strangers, in one line, with what was tried."""
    from challenge.submissions.jail.levels import LEVELS, REQUIRED

    level, attempts = found["level"], found["attempts"]
    if torch_fault:
        return f"not ready to judge or to train: torch does not work here: {torch_fault}"
    if found["fails"]:
        return f"not ready to judge: `{level}` does not hold here: {found['fails']}"
    if LEVELS.index(level) < LEVELS.index(REQUIRED):
        return (
            f"not ready to judge entries of strangers: only `{level}` holds here, which stops "
            "neither files nor network; training, dry runs and your own entries work"
        )
    return (
        f"ready to judge entries: `{level}` holds, {len(attempts)} of {len(attempts)} attempts "
        "ended as promised"
    )


def show(found: dict[str, Any], here: Sequence[dict[str, str]], *, every: bool) -> None:
    """A table of what was attempted, expected and seen at one level; then all levels in a line.

    Args:
        found: what `tried` gave.
        here: what `levels_here` gave.
        every: every attempt, not only those that did not end as promised.
    """
    from challenge.cli.shared.console import alarm, say, table

    attempts = [seen for seen in found["attempts"] if every or not seen.as_promised]
    rows = [(seen.name, *_words(seen)) for seen in attempts]
    columns = ("attempted", "expected", "seen")
    if rows:
        title = f"isolation at level {found['level']}, tried just now"
        table(columns, rows, title=title, left=columns)
    for each in here:
        state = f"no: {each['fails']}" if each["fails"] else f"yes: {each['promises']}"
        say(f"{each['level']:11} {state}")
    if found["fails"]:
        alarm(f"{found['level']}: {found['fails']}")


def _words(seen: Seen) -> tuple[str, str]:
    """What was expected of an attempt, and what was seen."""
    from challenge.submissions.jail.probe.expected import STOPPED_BY

    needed = seen.name not in STOPPED_BY
    expected = "stopped" if seen.stopped else "works" if needed else "possible"
    happened = "works" if needed else "possible"
    state = happened if seen.happened else "fails" if needed else "stopped"
    said = f": {seen.said}" if seen.said and not (seen.happened and not needed) else ""
    mark = "" if seen.as_promised else "NOT AS PROMISED, "
    # With the other columns it fits into 80.
    return expected, textwrap.shorten(f"{mark}{state}{said}", 34, placeholder="...")
