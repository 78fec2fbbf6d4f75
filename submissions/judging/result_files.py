"""Verdicts as files: one JSON per (entry, challenge, judge), read back for the board.

The judge is what a verdict depends on besides entry and challenge: metric, toolkit version,
isolation, threads and limits. Where entry, challenge and judge are the same, it is reused.
One that is judged anew goes into `history/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data import atomic, locks, reading
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.judging.result import Result

SHORT = 16
"""Hex digits of a hash that is shown; of challenge and judge also in a file's name."""


def judge_parts(
    metric: dict[str, Any],
    toolkit: dict[str, str],
    isolation: dict[str, str],
    limits: Limits,
    repeat: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a verdict depends on besides entry and challenge."""
    return {
        "metric": metric,
        "toolkit": toolkit,
        "isolation": isolation,
        "limits": limits.model_dump(mode="json"),
        "repeat": repeat,
    }


def path_of(workspace: Workspace, entry: str, challenge: str, judge: str) -> Path:
    """The file of a verdict, by the three full hashes."""
    return layout.result(workspace, entry, challenge[:SHORT], judge[:SHORT])


def _older_path(workspace: Workspace, entry: str, challenge: str, judge: str) -> Path:
    """Where older toolkits wrote it; two entries may share such a name."""
    return layout.result(workspace, entry[:SHORT], challenge[:SHORT], judge[:SHORT])


def save(workspace: Workspace, result: Result) -> Path:
    """Write a verdict; one that stood in its place goes into the history.

    To be called by whoever has the entry `locked`.
    """
    hashes = result.entry.hash, result.challenge.hash, result.judge.hash
    path, older = path_of(workspace, *hashes), _older_path(workspace, *hashes)
    atomic.remove_leftovers(path)
    with contextlib.suppress(UserError):
        if before := find(workspace, *hashes):
            # Its date is in the name: whoever was killed in between writes the same file again.
            moment = "".join(each for each in before.judged_at if each.isalnum())
            atomic.write_json(
                layout.history(workspace) / f"{path.stem}-{moment}.json", before.to_json()
            )
    atomic.write_json(path, result.to_json())
    if _is_of(older, *hashes):
        older.unlink()
    return path


def renew(workspace: Workspace, result: Result) -> None:
    """Write a verdict that stands with other facts beside it; no history is made.

    To be called by whoever has the entry `locked`.
    """
    hashes = result.entry.hash, result.challenge.hash, result.judge.hash
    older = _older_path(workspace, *hashes)
    path = older if _is_of(older, *hashes) else path_of(workspace, *hashes)
    atomic.write_json(path, result.to_json())


@contextlib.contextmanager
def locked(workspace: Workspace, entry: str) -> Iterator[None]:
    """Be the only one who judges an entry in this workspace; waits for whoever does it now.

    The lock ends with the process, however that ends. Where the system, or a drive of a network,
    has no such locks, two who judge the same entry at once both do it, and the later verdict
    stands.
    """
    with locks.in_turn(layout.lock(workspace, entry)):
        yield


def find(workspace: Workspace, entry: str, challenge: str, judge: str) -> Result | None:
    """The verdict that stands for these hashes, if there is one.

    By what stands in the file, not by its name alone, which has parts of the hashes.
    """
    hashes = entry, challenge, judge
    for path in (path_of(workspace, *hashes), _older_path(workspace, *hashes)):
        if path.is_file() and _hashes(found := read(path)) == hashes:
            return found
    return None


def _is_of(path: Path, *hashes: str) -> bool:
    """Whether a file is the verdict for these hashes."""
    with contextlib.suppress(UserError):
        return path.is_file() and _hashes(read(path)) == hashes
    return False


def _hashes(result: Result) -> tuple[str, str, str]:
    return result.entry.hash, result.challenge.hash, result.judge.hash


def read(path: Path) -> Result:
    """One verdict; raises `UserError` if the file is damaged."""
    try:
        return Result.model_validate_json(reading.bounded(path))
    except (OSError, ValueError):
        remedy = "remove it and score the entry again"
        raise UserError.of(path, "is no result of this toolkit, or damaged", remedy) from None


def read_all(workspace: Workspace, challenge: str | None = None) -> list[Result]:
    """All verdicts, in the order of their files; of one challenge's name where it is given."""
    found = [read(path) for path in sorted(layout.results(workspace).glob("[!.]*.json"))]
    return [each for each in found if challenge in (None, each.challenge.name)]


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the second: sorts as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
