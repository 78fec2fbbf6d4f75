"""When entries were received: a register of first sight, which only grows.

The date of a zip is whoever's who touched it last: a sender can set it, and a copy has another. So
the first look at an entry, by `score` or by `check` where the hidden folder is, is written down
for good: its whole hash, its date, the moment of the look. It was received at its file's date, but
no later than that look; a date before the challenge was prepared, or in the future, counts as none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.data import atomic, locks
from challenge.data.hashing import digest
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.judging import result_files
from challenge.submissions.judging.result import Result
from challenge.submissions.text import one_line

TOLERANCE = timedelta(minutes=2)
"""By which the clocks of two machines may differ."""
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No entry is older than its format; where an older toolkit did not note when it prepared."""

_read_before: dict[Path, tuple[bytes, dict[str, Sight]]] = {}
"""Registers as they were read last: they grow, and a day's entries are looked at one by one."""


class Sight(Section):
    """The first look at an entry; moments are ISO 8601 in UTC, to the second."""

    format: Literal[1] = 1
    entry: str
    """The whole hash."""
    file: str
    team: str
    """As its manifest says; empty where there is none."""
    name: str
    seen: str
    modified: str
    """The file's own date."""
    received: str
    """What counts."""
    doubt: str = ""
    """Why that is not the file's date; else empty."""


def see(
    workspace: Workspace,
    entry: Path,
    *,
    prepared: datetime | None = None,
    entry_hash: str = "",
    now: datetime | None = None,
    first: Callable[[Sight], None] | None = None,
) -> Sight:
    """Look at an entry: what the register has of it, where it is put if it is new.

    Args:
        workspace: the organiser's.
        entry: the zip.
        prepared: when the challenge was; no entry is older.
        entry_hash: of the zip, where it is known.
        now: the moment of the look.
        first: called with what is put down, if it is new.

    Raises:
        UserError: the register is damaged.
    """
    entry_hash = entry_hash or digest(entry)
    path = layout.received(workspace)
    with atomic.disk_errors(path), locks.in_turn(path.with_name(f".{path.name}.lock")):
        known = read(workspace).get(entry_hash)
        if known is not None:
            return known
        seen = now or datetime.now(UTC)
        sight = _first(workspace, entry, entry_hash, seen, prepared)
        _append(path, sight)
    if first is not None:
        first(sight)
    return sight


def read(workspace: Workspace) -> dict[str, Sight]:
    """The register by the entries' hashes; a last line that was not written whole is none.

    Raises:
        UserError: a line is damaged.
    """
    path = layout.received(workspace)
    if not path.is_file():
        return {}
    content = _whole(path.read_bytes())
    before, found = _read_before.get(path, (b"", {}))
    if not content.startswith(before):
        before, found = b"", {}
    found = found.copy()
    fresh = content[len(before) :].splitlines()
    for number, line in enumerate(fresh, 1 + before.count(b"\n")):
        try:
            sight = Sight.model_validate_json(line)
        except ValueError:
            remedy = "restore the register from a copy, or remove the line: its entry is new then"
            raise UserError.of(f"{path}:{number}", "is damaged", remedy) from None
        found.setdefault(sight.entry, sight)
    _read_before[path] = content, found
    return found.copy()


def _first(
    workspace: Workspace, entry: Path, entry_hash: str, seen: datetime, prepared: datetime | None
) -> Sight:
    from challenge.submissions.entries.check import read_manifest  # which needs numpy

    facts = read_manifest(entry)
    modified = _moment(entry.stat().st_mtime)
    received, doubt = _received(modified, seen, prepared)
    # Verdicts of older toolkits are the register of their time.
    judged = [each.received for each in _verdicts(workspace, entry_hash)]
    if judged:
        received, doubt = datetime.fromisoformat(min(judged)), ""
    return Sight(
        entry=entry_hash,
        file=one_line(entry.name, 255),
        team=facts.team if facts else "",
        name=facts.name if facts else "",
        seen=_text(seen),
        modified=_text(modified),
        received=_text(received),
        doubt=doubt,
    )


def _verdicts(workspace: Workspace, entry_hash: str) -> list[Result]:
    files = layout.results(workspace).glob(f"{entry_hash[: result_files.SHORT]}*.json")
    return [each for each in map(result_files.read, files) if each.entry.hash == entry_hash]


def _received(
    modified: datetime, seen: datetime, prepared: datetime | None
) -> tuple[datetime, str]:
    """When an entry was received, and why that is not its file's date."""
    earliest = max(prepared or _EARLIEST, _EARLIEST)
    day = f"its file's date is {modified:%Y-%m-%d %H:%M} UTC"
    if modified > seen + TOLERANCE:
        return seen, f"{day}, in the future"
    if modified < earliest - TOLERANCE:
        return seen, f"{day}, before the challenge was prepared"
    return min(modified, seen), ""


def _moment(seconds: float) -> datetime:
    """A file's date; one beyond what a date can be is the last one that can."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _append(path: Path, sight: Sight) -> None:
    """Add a line, whole; what an interrupted one left before it is cut off, for it is none."""
    line = sight.model_dump_json().encode() + b"\n"
    with path.open("ab") as file:
        written = path.read_bytes()
        whole = _whole(written)
        file.truncate(min(len(whole), len(written)))
        file.write(whole[len(written) :] + line)
        file.flush()
        os.fsync(file.fileno())


def _whole(content: bytes) -> bytes:
    """The register without a last line that was not written whole.

    One that is whole and lacks its end, as some editors leave it, gets that again.
    """
    before, end, last = content.rpartition(b"\n")
    try:
        Sight.model_validate_json(last)
    except ValueError:
        return before + end
    return content + b"\n"
