"""The reveal on the last day: the final part is unlocked once, after the seal was verified.

Its moment is written down in the hidden folder and stays: what is received later does not count,
for the truth may be published then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Moment
from challenge.data import atomic, reading
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


def unlock(hidden: Hidden, seal: str, now: datetime | None = None) -> Revealed:
    """Note the reveal, unless it was noted before: the first moment stays."""
    if (known := read(hidden)) is not None:
        return known
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    found = Revealed(at=moment, seal=seal)
    atomic.write_json(hidden.revealed, found.model_dump(mode="json"), 0o600)
    return found
