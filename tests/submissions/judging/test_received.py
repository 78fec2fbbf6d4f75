"""The register of first sight: what a date may say, and that nothing rewrites it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from challenge.configs.errors import UserError
from challenge.data.hashing import digest
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.judging import received

PREPARED = datetime(2026, 11, 20, 9, tzinfo=UTC)
SEEN = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def zipped(path: Path, text: str = "a", at: datetime | float = SEEN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("text", text)
    seconds = at.timestamp() if isinstance(at, datetime) else at
    os.utime(path, (seconds, seconds))
    return path


@pytest.mark.parametrize(
    ("modified", "counts", "doubt"),
    [
        (datetime(2026, 11, 30, 8, 15, tzinfo=UTC), "2026-11-30T08:15:00+00:00", ""),
        # The clocks of two machines are not one.
        (datetime(2026, 12, 1, 12, 1, tzinfo=UTC), "2026-12-01T12:00:00+00:00", ""),
        (datetime(2026, 12, 1, 12, 5, tzinfo=UTC), "2026-12-01T12:00:00+00:00", "in the future"),
        (datetime(2446, 5, 9, tzinfo=UTC), "2026-12-01T12:00:00+00:00", "in the future"),
        (datetime(2026, 11, 20, 8, tzinfo=UTC), "2026-12-01T12:00:00+00:00", "before the chall"),
        (datetime(1970, 1, 1, tzinfo=UTC), "2026-12-01T12:00:00+00:00", "before the chall"),
        (-2_177_452_800, "2026-12-01T12:00:00+00:00", "before the chall"),  # 1901
    ],
)
@pytest.mark.parametrize("prepared", [PREPARED, None])
def test_a_date_that_cannot_be_true_counts_as_none(
    place: Workspace, tmp_path: Path, modified: datetime | float, counts: str, doubt: str, prepared
) -> None:
    if prepared is None and modified == datetime(2026, 11, 20, 8, tzinfo=UTC):
        return  # an older toolkit did not say when it prepared the challenge
    entry = zipped(tmp_path / "a.zip", at=modified)
    sight = received.see(place, entry, prepared=prepared, now=SEEN)
    assert sight.received == counts
    assert (doubt in sight.doubt) if doubt else not sight.doubt
    assert sight.seen == "2026-12-01T12:00:00+00:00"


def test_touching_copying_and_renaming_change_nothing(place: Workspace, tmp_path: Path) -> None:
    entry = zipped(tmp_path / "a.zip")
    told: list[received.Sight] = []
    first = received.see(place, entry, now=SEEN, first=told.append)
    os.utime(entry, (PREPARED.timestamp(),) * 2)
    copy = tmp_path / "b.zip"
    shutil.copyfile(entry, copy)
    for path in (entry, copy):
        assert received.see(place, path, first=told.append) == first
    assert told == [first]
    assert layout.received(place).read_bytes().count(b"\n") == 1
    assert received.read(place) == {digest(entry): first}


def test_many_at_once_write_each_entry_once(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = received._first

    def slowly(*arguments: Any) -> received.Sight:
        time.sleep(0.01)  # the others come in between, where they can
        return real(*arguments)

    monkeypatch.setattr(received, "_first", slowly)
    entries = [zipped(tmp_path / f"{number}.zip", str(number)) for number in range(6)] * 4
    with ThreadPoolExecutor(8) as pool:
        sights = list(pool.map(lambda entry: received.see(place, entry), entries))
    lines = layout.received(place).read_text().splitlines()
    assert len(lines) == len({json.loads(line)["entry"] for line in lines}) == 6
    assert {each.entry for each in sights} == set(received.read(place))


def test_a_line_that_was_not_written_whole_is_none(place: Workspace, tmp_path: Path) -> None:
    first = received.see(place, zipped(tmp_path / "a.zip"))
    path = layout.received(place)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert received.read(place) == {first.entry: first}
    second = received.see(place, zipped(tmp_path / "b.zip", "b"))
    assert path.read_bytes().startswith(whole)
    assert set(received.read(place)) == {first.entry, second.entry}


def test_a_last_line_that_an_editor_left_without_its_end_is_kept(
    place: Workspace, tmp_path: Path
) -> None:
    first = received.see(place, zipped(tmp_path / "a.zip"))
    path = layout.received(place)
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip())
    assert received.read(place) == {first.entry: first}
    received.see(place, zipped(tmp_path / "b.zip", "b"))
    assert path.read_bytes().startswith(whole)


def test_a_damaged_line_is_named_and_its_remedy_works(place: Workspace, tmp_path: Path) -> None:
    first = received.see(place, zipped(tmp_path / "a.zip"))
    path = layout.received(place)
    whole = path.read_bytes()
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(UserError, match=r"received\.jsonl:1: is damaged; restore the register"):
        received.read(place)
    path.write_bytes(whole)
    assert received.read(place) == {first.entry: first}


def test_what_was_read_before_is_read_anew_where_it_was_changed(
    place: Workspace, tmp_path: Path
) -> None:
    path = layout.received(place)
    for each in "abc":
        received.see(place, zipped(tmp_path / f"{each}.zip", each), now=SEEN)
    whole = path.read_bytes()
    assert len(received.read(place)) == 3
    received.read(place).clear()
    assert len(received.read(place)) == 3
    for content in (whole.replace(b'"a.zip"', b'"x.zip"'), whole.partition(b"\n")[2], whole):
        path.write_bytes(content)
        found = [each.model_dump_json().encode() for each in received.read(place).values()]
        assert found == content.splitlines()


def test_on_a_drive_without_locks_an_entry_is_seen_all_the_same(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="this system has other locks")

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    sight = received.see(place, zipped(tmp_path / "a.zip"), now=SEEN)
    assert received.read(place) == {sight.entry: sight}
