"""The reveal on the last day: the final part is unlocked once, after the seal was verified.

Its moment is written down in the hidden folder and stays: what is received later does not count,
for the truth may be published then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Moment
from challenge.data import atomic, reading
from challenge.data.challenges.rules import shown
from challenge.data.layout import Hidden


class Revealed(Section):
    """When it was done, and with which seal."""

    format: Literal[1] = 1
    at: Moment
    seal: str


def read(hidden: Hidden) -> Revealed | None:
    """The record of a hidden folder; None before the reveal.

    Raises:
        UserError: it is damaged.
    """
    if not hidden.revealed.is_file():
        return None
    try:
        return Revealed.model_validate_json(reading.bounded(hidden.revealed))
    except (OSError, ValueError):
        remedy = "remove it, and reveal again: what came since then counts"
        raise UserError.of(hidden.revealed, "is damaged", remedy) from None


def expect_due(config: ChallengeConfig, hidden: Hidden, now: datetime | None = None) -> None:
    """Whether the last day has come.

    Raises:
        UserError: the deadline has not passed, or there is none, so that nothing says when teams
            have handed in their last entry and a final part may be opened.
    """
    name, deadline = config.name, config.rules.deadline
    if deadline is not None and (now or datetime.now(UTC)) < deadline:
        cause = f"is before the deadline, {shown(deadline)}"
        remedy = f"wait, or move it: `challenge amend {name} rules.deadline=...`"
        raise UserError.of("the reveal", cause, remedy)
    if deadline is None and config.rules.final_share is not None and read(hidden) is None:
        cause = "opens the final part for good, and the challenge has no deadline"
        remedy = f"set one: `challenge amend {name} rules.deadline={_example(now)}`"
        raise UserError.of("the reveal", cause, remedy)


def _example(now: datetime | None) -> str:
    return f"{now or datetime.now(UTC):%Y-%m-%dT%H:%M:00Z}"


def record(hidden: Hidden, seal: str, now: datetime | None = None) -> Revealed:
    """The record as it stands, or as `unlock` would write it."""
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    return read(hidden) or Revealed(at=moment, seal=seal)


def unlock(hidden: Hidden, seal: str, now: datetime | None = None) -> Revealed:
    """Note the reveal, unless it was noted before: the first moment stays."""
    found = record(hidden, seal, now)
    if read(hidden) is not None:
        return found
    atomic.write_json(hidden.revealed, found.model_dump(mode="json"), 0o600)
    return found
