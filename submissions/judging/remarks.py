"""What a reader of the board must know: how its rows were judged, and which entries count."""

from __future__ import annotations

from collections.abc import Sequence

from challenge.configs.schema.challenge import Rules
from challenge.data.challenges.rules import shown
from challenge.submissions.judging.board import Row


def remarks(rows: Sequence[Row]) -> list[str]:
    """How the rows of a board were judged, a line each; empty where all is as it should be."""
    counting = [row for row in rows if row.counts]
    said = []
    open_rows = [row for row in counting if row.isolation == "process"]
    if open_rows:
        said.append(
            f"judged without isolation ({_share(open_rows, counting)}): the entries' code could "
            "read files and use the network of the judging machine"
        )
    for what in ("limits", "rules of the check"):
        if old := [row for row in counting if row.outdated == what]:
            said.append(
                f"judged by other {what} than hold now ({_share(old, counting)}): score these "
                "entries again"
            )
    if len({row.judge for row in counting}) > 1:
        said.append(
            "not all rows were judged alike (toolkit, limits, isolation or repeat differ): score "
            "all entries again for a fair comparison"
        )
    return said


def rule(rules: Rules) -> str:
    """Which entries count, in one line."""
    by = "" if rules.counts == "latest" or rules.final_share is None else " on the public part"
    when = f"; deadline {shown(rules.deadline)}" if rules.deadline else ""
    return (
        f"of each team its {rules.counts} valid entry{by} counts (`rules.counts`), of at most "
        f"{rules.entries_per_day} a day, days in UTC{when}"
    )


def _share(some: Sequence[Row], of: Sequence[Row]) -> str:
    return "all" if len(some) == len(of) else f"{len(some)} of {len(of)}"
