"""Zips that Python's own reader stumbles over: a problem in words, never a traceback."""

import json
import struct
import zipfile
from pathlib import Path

import pytest

from challenge.submissions.entries import archive, weights
from challenge.submissions.entries.check import check, read_manifest


def packed(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return path


def central(content: bytes) -> int:
    return content.index(b"PK\x01\x02")


def test_a_flag_that_the_reader_does_not_know(tmp_path):
    path = packed(tmp_path / "a.zip", {"manifest.json": b"{}"})
    content = bytearray(path.read_bytes())
    content[central(bytes(content)) + 8] |= 0x20
    path.write_bytes(content)
    assert check(path)
    assert read_manifest(path) is None


def test_a_local_name_that_is_not_utf_8(tmp_path):
    path = packed(tmp_path / "a.zip", {"manifest.json": b"{}"})
    content = bytearray(path.read_bytes())
    content[6:8] = struct.pack("<H", 0x800)
    content[30] = 0xFF
    path.write_bytes(content)
    assert check(path)
    assert read_manifest(path) is None


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"plugin/a.py": b"", "plugin/a.py/b.py": b""}, "is a file and a folder at once"),
        ({"plugin/" + "a" * 300 + ".py": b""}, "has too long a name"),
    ],
)
def test_names_that_cannot_be_unpacked(tmp_path, names, text):
    path = packed(tmp_path / "a.zip", names)
    assert any(text in problem.cause for problem in check(path))


def test_bytes_between_the_files(tmp_path):
    path = packed(tmp_path / "a.zip", {"manifest.json": b"{}"})
    assert not [each for each in archive.members(path, "a").problems if "no file" in each.cause]
    padded = tmp_path / "b.zip"
    padded.write_bytes(bytes(1_000_000) + path.read_bytes())
    assert any("no file owns" in problem.cause for problem in archive.members(padded, "b").problems)


# --- zips that say one thing and are another ----------------------------------------------------

END, TABLE, LOCAL = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"


def two(path: Path) -> bytearray:
    return bytearray(packed(path, {"plugin/a.py": b"x = 1\n", "plugin/b.py": b""}).read_bytes())


def put(content: bytearray, mark: bytes, offset: int, kind: str, value: int) -> None:
    struct.pack_into("<" + kind, content, content.rindex(mark) + offset, value)


def zip64(content: bytearray) -> None:
    """Both sizes in the 64-bit field that readers ask when the 32-bit ones are full."""
    first = content.index(TABLE)
    extra = struct.pack("<2H2Q", 1, 16, 6, 6)
    name = content[first + 46 : first + 46 + 11]
    content[first + 20 : first + 28] = b"\xff" * 8
    struct.pack_into("<H", content, first + 30, len(extra))
    content[first + 46 : first + 57] = name + extra
    put(content, END, 12, "I", content.rindex(END) - first)


def end64(content: bytearray) -> None:
    """A 64-bit end of the table, in which the table may be anywhere and of any size."""
    at = content.rindex(END)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    content[at:at] = record + locator


LIES = {
    "a name": lambda c: c.__setitem__(slice(30, 41), b"plugin/c.py"),
    "a size in the table": lambda c: put(c, TABLE, 24, "I", 3),
    "both sizes in the table": lambda c: [put(c, TABLE, at, "I", 4_000_000_000) for at in (20, 24)],
    "both sizes at the file": lambda c: [struct.pack_into("<I", c, at, 1) for at in (18, 22)],
    "a checksum at the file": lambda c: struct.pack_into("<I", c, 14, 1),
    "a checksum in the table": lambda c: put(c, TABLE, 16, "I", 1),
    "the method at the file": lambda c: struct.pack_into("<H", c, 8, 8),
    "the flags at the file": lambda c: struct.pack_into("<H", c, 6, 1),
    "sizes behind the content": lambda c: [
        put(c, mark, at, "H", 8) for mark, at in ((LOCAL, 6), (TABLE, 8))
    ],
    "bytes before a name's content": lambda c: struct.pack_into("<H", c, 28, 4),
    "an extra field": lambda c: put(c, TABLE, 30, "H", 1),
    "a comment on a file": lambda c: put(c, TABLE, 32, "H", 1),
    "another place": lambda c: put(c, TABLE, 42, "I", 0),
    "a place outside": lambda c: put(c, TABLE, 42, "I", 0xFFFFFFF0),
    "64-bit sizes": zip64,
    "a 64-bit end": end64,
    "more files in the end": lambda c: [put(c, END, at, "H", 60_000) for at in (8, 10)],
    "fewer files in the end": lambda c: [put(c, END, at, "H", 1) for at in (8, 10)],
    "another disk": lambda c: put(c, END, 4, "H", 1),
    "a table elsewhere": lambda c: put(c, END, 16, "I", 0),
    "a longer table": lambda c: put(c, END, 12, "I", 900_000),
    "a shorter table": lambda c: put(c, END, 12, "I", 57),
    "a comment longer than the file": lambda c: put(c, END, 20, "H", 65_535),
    "a comment": lambda c: (put(c, END, 20, "H", 5), c.extend(b"hello")),
    "a comment that is a zip": lambda c: (put(c, END, 20, "H", len(c)), c.extend(c)),
    "bytes before": lambda c: c.__setitem__(slice(0, 0), b"MZ" * 50),
    "a zip before": lambda c: c.__setitem__(slice(0, 0), bytes(c)),
    "bytes behind": lambda c: c.extend(b"x"),
    "bytes before the table": lambda c: c.__setitem__(slice(c.index(TABLE), c.index(TABLE)), b"x"),
    "bytes before the end": lambda c: c.__setitem__(slice(c.rindex(END), c.rindex(END)), b"x"),
    "bytes between files": lambda c: c.__setitem__(slice(c.rindex(LOCAL), c.rindex(LOCAL)), b"x"),
}


def of_the_zip(path: Path) -> list[str]:
    """Problems of the zip itself, without those of an entry that has only a plugin."""
    problems = archive.members(path, path.name).problems
    assert all(len(str(problem.mistake)) < 500 for problem in problems)
    return [problem.cause for problem in problems]


@pytest.mark.parametrize("lie", LIES)
def test_a_zip_that_is_not_what_it_says(tmp_path, lie):
    path = tmp_path / "a.zip"
    content = two(path)
    assert of_the_zip(path) == []
    LIES[lie](content)
    path.write_bytes(content)
    assert of_the_zip(path)
    assert check(path)
    read_manifest(path)


def test_one_content_for_a_thousand_files(tmp_path):
    """The better zip bomb: every file of the table is the same megabyte."""
    path = packed(tmp_path / "a.zip", {"plugin/a.py": bytes(1_000_000)})
    content = path.read_bytes()
    table, end = content.index(TABLE), content.rindex(END)
    entry = content[table:end]
    entries = b"".join(
        entry[:28] + struct.pack("<H", 15) + entry[30:46] + b"plugin/a%04d.py" % number
        for number in range(1000)
    )
    tail = struct.pack("<4s4H2IH", END, 0, 0, 1000, 1000, len(entries), table, 0)
    path.write_bytes(content[:table] + entries + tail)
    assert "has files that overlap" in of_the_zip(path)
    assert any(problem.outcome == "oversize" for problem in check(path))


def test_what_inflates_is_not_inflated(tmp_path, monkeypatch):
    """Twenty megabytes of zeros in twenty kilobytes, as every file that the check reads."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("manifest.json", "config.yaml", "weights.safetensors", "plugin/a.py"):
            with file.open(name, "w") as member:
                for _ in range(20):
                    member.write(bytes(1_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    problems = check(path)
    assert ["is compressed" in problem.cause for problem in problems] == [True]
    assert read_manifest(path) is None


def test_a_mark_inside_the_end_is_not_the_end(tmp_path):
    """A table at byte 101,010,256 spells the mark of the end, as data before it may."""
    path = packed(tmp_path / "a.zip", {"plugin/a.py": b"#" + END + b"\n"})
    assert of_the_zip(path) == []


# --- weights ------------------------------------------------------------------------------------


def test_a_type_that_is_no_word(tmp_path):
    header = json.dumps({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with path.open("rb") as file, pytest.raises(weights.NotSafetensors, match="wrongly"):
        weights.read_header(file, path.stat().st_size)


def test_names_cannot_act_on_a_terminal(tmp_path):
    facts = {"files": {"\x1b[2J\nerror: all is well": {"sha256": "0" * 64, "size": 1}}}
    path = packed(tmp_path / "a.zip", {"manifest.json": json.dumps(facts).encode()})
    for problem in check(path):
        assert "\x1b" not in str(problem.mistake)
        assert "\n" not in str(problem.mistake)


def test_a_problems_line_stays_one_harmless_line():
    from challenge.submissions.entries.violations import Violation

    line = str(Violation("invalid_entry", "a\x1b[2J\nb", "c\rd" + "e" * 5000, "").mistake)
    assert line.startswith("a\\x1b[2J\\nb: c\\rde")
    assert len(line) < 2000
    odd = "\u2028\u2029\x85\u202e\ufeff\ud800"
    line = str(Violation("invalid_entry", odd, odd, odd).mistake)
    assert line.isprintable()
    assert len(line.splitlines()) == 1
