"""The zip of an entry: written so that the same contents give the same bytes, read with distrust.

Members are stored, not deflated, in the order of their names, with one date and one mode.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from challenge.submissions.entries import member_names, zip_structure
from challenge.submissions.entries.manifest import FILES
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.text import one_line

CHUNK = 1 << 20
DATE = (1980, 1, 1, 0, 0, 0)

Members = Mapping[str, zipfile.ZipInfo]
"""The files of a zip by name."""


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


def members(path: Path, shown: str) -> tuple[dict[str, zipfile.ZipInfo], list[Violation]]:
    """The files of a zip by name, and everything that is wrong with the zip itself.

    Nothing is unpacked. `shown` is the name of the zip in the problems.
    """
    refused = zip_structure.cannot_open(path, shown)
    if refused:
        return {}, [refused]
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        return {}, [Violation("invalid_entry", shown, f"is a damaged zip ({error})", PACK_AGAIN)]
    if len(infos) > FILES:
        cause = f"holds {len(infos):,} files, an entry has at most {FILES:,}"
        return {}, [Violation("invalid_entry", shown, cause, PACK_AGAIN)]
    problems: list[Violation] = []
    found: dict[str, zipfile.ZipInfo] = {}
    folded: dict[str, str] = {}
    for info in infos:
        other = folded.get(info.filename.casefold())
        fault = member_names.fault(info)
        if fault is None and other is not None:
            fault = f"stands in the zip twice, also as `{one_line(other, 80)}`", PACK_AGAIN
        if fault is not None:
            place = f"{shown}/{one_line(info.orig_filename, 80)}"
            problems.append(Violation("invalid_entry", place, *fault))
        else:
            found[info.filename] = info
        folded[info.filename.casefold()] = info.filename
    problems += [problem for name in found if (problem := member_names.unexpected(name, shown))]
    with path.open("rb") as raw:
        problems += zip_structure.differences(raw, infos, shown)
    for name in found:
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                place = f"{shown}/{one_line(str(parent), 80)}"
                problems.append(
                    Violation("invalid_entry", place, "is a file and a folder at once", PACK_AGAIN)
                )
    return found, problems


def read_small(file: zipfile.ZipFile, info: zipfile.ZipInfo, largest: int) -> bytes | None:
    """The content of a small member; None if it is larger than that."""
    if info.file_size > largest:
        return None
    with file.open(info) as member:
        return member.read(largest + 1)


class Hashed:
    """A member that is read once: its SHA-256 comes with whatever else is done with its bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._found = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._found.update(piece)
        return piece

    def digest(self) -> str:
        """Of the whole member: what was not read yet is read now."""
        while self.read(CHUNK):
            pass
        return self._found.hexdigest()


def extract(path: Path, folder: Path) -> None:
    """Unpack an entry that was checked. A name that is not an entry's raises `ValueError`."""
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            if member_names.fault(info) or member_names.unexpected(info.filename, ""):
                raise ValueError(f"{info.filename!r} was not checked")
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(info) as member, target.open("xb") as out:
                for piece in pieces(member):  # type: ignore[arg-type]
                    out.write(piece)
