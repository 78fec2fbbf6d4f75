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
from challenge.data import atomic
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.judging.result import Result

SHORT = 16
"""Hex digits of a hash in a file's name."""


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
    return layout.result(workspace, entry[:SHORT], challenge[:SHORT], judge[:SHORT])


def save(workspace: Workspace, result: Result) -> Path:
    """Write a verdict; one that stood in its place goes into the history.

    To be called by whoever has the entry `locked`.
    """
    path = path_of(workspace, result.entry.hash, result.challenge.hash, result.judge.hash)
    atomic.remove_leftovers(path)
    if path.is_file():
        with contextlib.suppress(UserError):
            # Its date is in the name: whoever was killed in between writes the same file again.
            before = read(path)
            moment = "".join(each for each in before.judged_at if each.isalnum())
            atomic.write_json(
                layout.history(workspace) / f"{path.stem}-{moment}.json", before.to_json()
            )
    atomic.write_json(path, result.to_json())
    return path


@contextlib.contextmanager
def locked(workspace: Workspace, entry: str) -> Iterator[None]:
    """Be the only one who judges an entry in this workspace; waits for whoever does it now.

    The lock ends with the process, however that ends. Where the system has no such locks, two
    who judge the same entry at once both do it, and the later verdict stands.
    """
    path = layout.lock(workspace, entry[:SHORT])
    with atomic.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    # Outside of `disk_errors`: what goes wrong while it is judged has nothing to do with the lock.
    with file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find(workspace: Workspace, entry: str, challenge: str, judge: str) -> Result | None:
    """The verdict that stands for these hashes, if there is one."""
    path = path_of(workspace, entry, challenge, judge)
    return read(path) if path.is_file() else None


def read(path: Path) -> Result:
    """One verdict; raises `UserError` if the file is damaged."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        remedy = "remove it and score the entry again"
        raise UserError.of(path, "is no result of this toolkit, or damaged", remedy) from None


def read_all(workspace: Workspace, challenge: str | None = None) -> list[Result]:
    """All verdicts, in the order of their files; of one challenge's name where it is given."""
    found = [read(path) for path in sorted(layout.results(workspace).glob("[!.]*.json"))]
    return [each for each in found if challenge in (None, each.challenge.name)]


def submission_time(workspace: Workspace, entry: Path, entry_hash: str) -> str:
    """When an entry arrived: the zip's modification time, fixed by its first verdict. ISO, UTC."""
    files = layout.results(workspace).glob(f"{entry_hash[:SHORT]}-*.json")
    earlier = [each.received for each in map(read, files) if each.entry.hash == entry_hash]
    if earlier:
        return min(earlier)
    return timestamp(entry.stat().st_mtime)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the second: sorts as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
