"""The zip of an entry: written so that the same contents give the same bytes, read with distrust.

Members are stored, not deflated, in the order of their names, with one date and one mode.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from challenge.submissions.layout import CONFIG, MANIFEST, PLUGIN, WEIGHTS
from challenge.submissions.problem import Problem

CHUNK = 1 << 20
MEMBERS = 2000
"""More files than any entry has."""
LONGEST_NAME = 200
"""Characters of a member's name: every file system takes them."""
OVERHEAD = 256
"""Bytes a member may need beside its content and name; the format needs 76, and 22 in all."""
DIRECTORY_LIMIT = 1_000_000
"""Bytes of the zip's own table of contents that are read at all."""
DATE = (1980, 1, 1, 0, 0, 0)
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
AGAIN = "pack the run again with `challenge pack`"
_NAME = re.compile(r"[A-Za-z0-9_. -]+(/[A-Za-z0-9_. -]+)*")


def write(path: Path, contents: Mapping[str, Iterable[bytes]]) -> None:
    """Write a zip; `contents` gives the pieces of every member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, DATE)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with file.open(info, "w") as member:
                for piece in contents[name]:
                    member.write(piece)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file, one piece at a time."""
    while piece := file.read(CHUNK):
        yield piece


def members(path: Path, shown: str) -> tuple[dict[str, zipfile.ZipInfo], list[Problem]]:
    """The files of a zip by name, and everything that is wrong with the zip itself.

    Nothing is unpacked. `shown` is the name of the zip in the problems.
    """
    refused = _no_zip(path, shown)
    if refused:
        return {}, [refused]
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        return {}, [Problem("invalid_entry", shown, f"is a damaged zip ({error})", AGAIN)]
    if len(infos) > MEMBERS:
        cause = f"holds {len(infos):,} files, an entry has at most {MEMBERS:,}"
        return {}, [Problem("invalid_entry", shown, cause, AGAIN)]
    problems: list[Problem] = []
    found: dict[str, zipfile.ZipInfo] = {}
    folded: dict[str, str] = {}
    for info in infos:
        other = folded.get(info.filename.casefold())
        fault = _fault(info) or (
            f"stands in the zip twice, also as `{_plain(other)}`" if other is not None else None
        )
        if fault:
            place = f"{shown}/{_plain(info.orig_filename)}"
            problems.append(Problem("invalid_entry", place, fault, AGAIN))
        else:
            found[info.filename] = info
        folded[info.filename.casefold()] = info.filename
    problems += [problem for name in found if (problem := _unexpected(name, shown))]
    content = sum(info.compress_size for info in infos)
    names = sum(len(info.orig_filename.encode("utf-8", "replace")) for info in infos)
    if content > path.stat().st_size:
        problems.append(Problem("invalid_entry", shown, "has files that overlap", AGAIN))
    elif path.stat().st_size > content + 2 * names + OVERHEAD * (len(infos) + 1):
        problems.append(Problem("invalid_entry", shown, "has bytes that no file owns", AGAIN))
    for name in found:
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                place = f"{shown}/{_plain(str(parent))}"
                problems.append(
                    Problem("invalid_entry", place, "is a file and a folder at once", AGAIN)
                )
    return found, problems


def digest(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """SHA-256 of a member; raises `zipfile.BadZipFile` if it is damaged."""
    found = hashlib.sha256()
    with file.open(info) as member:
        for piece in pieces(member):  # type: ignore[arg-type]
            found.update(piece)
    return found.hexdigest()


def extract(path: Path, folder: Path) -> None:
    """Unpack an entry that was checked. A name that is not an entry's raises `ValueError`."""
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            if _fault(info) or _unexpected(info.filename, ""):
                raise ValueError(f"{info.filename!r} was not checked")
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(info) as member, target.open("xb") as out:
                for piece in pieces(member):  # type: ignore[arg-type]
                    out.write(piece)


def _no_zip(path: Path, shown: str) -> Problem | None:
    """Why the file cannot be opened as a zip, found without reading much of it."""
    if not path.is_file():
        return Problem("invalid_entry", shown, "is not a file", AGAIN)
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(2)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    position = tail.rfind(b"PK\x05\x06")
    if position < 0 or position + 22 > len(tail):
        if begins == b"PK":
            return Problem("invalid_entry", shown, "is cut off", "copy or download it again")
        return Problem("invalid_entry", shown, "is not a zip file", AGAIN)
    (directory,) = struct.unpack_from("<I", tail, position + 12)
    if directory > DIRECTORY_LIMIT or b"PK\x06\x07" in tail[-(65_557 + 20) :]:
        return Problem("invalid_entry", shown, "has too long a table of contents", AGAIN)
    return None


def _fault(info: zipfile.ZipInfo) -> str | None:
    """What is wrong with one member, in words; None if nothing."""
    name, mode = info.filename, info.external_attr >> 16
    parts = name.split("/")
    if info.orig_filename != name or "\\" in info.orig_filename or not _NAME.fullmatch(name):
        return "has a name that is not allowed"
    if any(part.lstrip(" ") != part or part.rstrip(" .") != part for part in parts):
        return "has a name that leads out of its folder"
    if len(name) > LONGEST_NAME:
        return "has too long a name"
    if stat.S_ISLNK(mode):
        return "is a link"
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "is not a regular file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "is compressed"
    return None


def _unexpected(name: str, shown: str) -> Problem | None:
    """The problem with a file that does not belong into an entry."""
    place = f"{shown}/{name}"
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PICKLES:
        remedy = "keep weights in the method's parameters and buffers, `train` saves them safely"
        cause = f"is a `{suffix}` file, a format that can run code when it is read"
        return Problem("unsafe_weights", place, cause, remedy)
    if name in (MANIFEST, CONFIG, WEIGHTS):
        return None
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    if parts[0] == PLUGIN and len(parts) > 1 and suffix == ".py" and not hidden:
        return None
    return Problem("invalid_entry", place, "does not belong into an entry", AGAIN)


def _plain(name: str) -> str:
    return name[:80].encode("unicode_escape").decode()
