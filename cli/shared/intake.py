"""What an organiser is told at the first look at entries: when they came, whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.teams import Teams


def look_at(
    entries: Iterable[Path], place: Workspace, challenge: Challenge, teams: Teams | None
) -> None:
    """Put entries that are new into the register of first sight, and warn of what is odd.

    A date that cannot be true is told once, when it is seen first; a name that speaks of another
    team than the entry does, each time. The toolkit's own baselines are nobody's.
    """
    from challenge.cli.shared.console import warn
    from challenge.submissions import layout
    from challenge.submissions.entries.intake import identify
    from challenge.submissions.entries.teams import BASELINE, misnamed
    from challenge.submissions.judging import received

    # One look at all of them: what comes first in the list was not seen first.
    now = datetime.now(UTC)
    own = {path.resolve() for path in layout.baselines().values()}
    known = frozenset(teams.teams if teams else ())

    def tell(sight: received.Sight) -> None:
        if sight.doubt and sight.team != BASELINE:
            warn(f"{sight.file}: {sight.doubt}; it counts as received now")

    for entry in dict.fromkeys(entries):
        if entry.is_file() and entry.resolve() not in own:
            sight = received.see(
                place,
                entry,
                prepared=challenge.standing.prepared,
                entry_hash=identify(entry, challenge.config.limits),
                now=now,
                first=tell,
            )
            if sight.team and (odd := misnamed(entry, sight.team, known)):
                warn(odd)
