"""Verdicts as files: found by whole hashes, whatever a team makes the short ones be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from challenge.data import locks
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.judging import result_files
from challenge.submissions.judging.result import Result

SHORT = 16
CHALLENGE, JUDGE = "c" * 64, "d" * 64


def verdict(entry: str, at: str = "2026-12-01T10:00:00+00:00", **changes: str) -> Result:
    hashes = {"challenge": CHALLENGE, "judge": JUDGE} | changes
    return Result.model_validate(
        {
            "entry": {"hash": entry, "team": "alpha", "name": "tv"},
            "challenge": {"name": "deblur", "hash": hashes["challenge"]},
            "judge": {"hash": hashes["judge"]},
            "outcome": "crash",
            "received": at,
            "judged_at": at,
            "images": [],
        }
    )


def as_older(place: Workspace, result: Result) -> Path:
    """Written as an older toolkit did, under 16 digits of each hash."""
    path = result_files.save(place, result)
    hashes = result.entry.hash, result.challenge.hash, result.judge.hash
    return path.rename(layout.result(place, *(each[:SHORT] for each in hashes)))


def ask(place: Workspace, result: Result) -> Result | None:
    return result_files.find(place, result.entry.hash, result.challenge.hash, result.judge.hash)


@pytest.mark.parametrize(
    "other",
    [
        verdict("a" * SHORT + "b" * 48),
        verdict("a" * 64, challenge="c" * SHORT + "e" * 48),
        verdict("a" * 64, judge="d" * SHORT + "e" * 48),
    ],
    ids=["entry", "challenge", "judge"],
)
@pytest.mark.parametrize("older", [False, True])
def test_a_verdict_is_nobody_elses_whose_short_hash_is_the_same(
    tmp_path: Path, other: Result, older: bool
) -> None:
    place, mine = Workspace(tmp_path), verdict("a" * 64)
    (as_older if older else result_files.save)(place, mine)
    assert ask(place, mine) == mine
    assert ask(place, other) is None


def test_two_entries_with_one_short_hash_have_two_verdicts_and_two_folders(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    entries = ["a" * 60 + digits for digits in ("0000", "0001")]
    found = [verdict(entry) for entry in entries]
    for each in found:
        result_files.save(place, each)
    assert [ask(place, each) for each in found] == found
    assert len(result_files.read_all(place)) == 2
    assert not layout.history(place).exists()
    assert found[0].entry.label != found[1].entry.label
    assert layout.lock(place, entries[0]) != layout.lock(place, entries[1])


def test_an_older_verdict_is_found_and_goes_into_the_history(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    first, second = verdict("a" * 64), verdict("a" * 64, "2026-12-02T10:00:00+00:00")
    path = as_older(place, first)
    assert ask(place, first) == first
    result_files.renew(place, first)
    assert result_files.read_all(place) == [first]
    result_files.save(place, second)
    assert not path.exists()
    assert result_files.read_all(place) == [second]
    (kept,) = layout.history(place).iterdir()
    assert result_files.read(kept) == first


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_drive_without_locks_is_judged_on_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    said = [errno.EBADF, *locks.NO_LOCKS]

    def flock(*_: object) -> None:
        number = said.pop()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in locks.NO_LOCKS:
        with result_files.locked(Workspace(tmp_path), "a" * 64):
            pass
    with (
        pytest.raises(OSError, match="descriptor"),
        result_files.locked(Workspace(tmp_path), "a" * 64),
    ):
        pass
