"""Zips that Python's own reader stumbles over: a problem in words, never a traceback."""

import json
import struct
import zipfile
from pathlib import Path

import pytest

from challenge.submissions import archive, weights
from challenge.submissions.check import check, read_manifest


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
    assert not any("no file owns" in problem.cause for problem in archive.members(path, "a")[1])
    padded = tmp_path / "b.zip"
    padded.write_bytes(bytes(1_000_000) + path.read_bytes())
    assert any("no file owns" in problem.cause for problem in archive.members(padded, "b")[1])


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
    from challenge.submissions.problem import Problem

    line = str(Problem("invalid_entry", "a\x1b[2J\nb", "c\rd" + "e" * 5000, "").mistake)
    assert line.startswith("a\\x1b[2J\\nb: c\\rde")
    assert len(line) < 2000
