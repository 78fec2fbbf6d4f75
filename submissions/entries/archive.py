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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from challenge.methods import plugin
from challenge.submissions.entries.violations import Violation
from challenge.submissions.layout import CONFIG, MANIFEST, PLUGIN, WEIGHTS
from challenge.submissions.text import one_line

CHUNK = 1 << 20
MEMBERS = 2000
"""More files than any entry has."""
LONGEST_NAME = 200
"""Characters of a member's name: every file system takes them."""
DIRECTORY_LIMIT = 1_000_000
"""Bytes of the zip's own table of contents that are read at all."""
DATE = (1980, 1, 1, 0, 0, 0)
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar",
            ".whl", ".egg", ".jar")  # fmt: skip
DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)
}
"""Names that are no files on Windows, whatever their ending and their folder."""
AGAIN = "pack the run again with `challenge pack`"
_NAME = re.compile(r"[A-Za-z0-9_. -]+(/[A-Za-z0-9_. -]+)*")
_END = struct.Struct("<4s4H2IH")
"""The last 22 bytes of a zip: mark, 2 disk numbers, 2 counts of files, bytes and place of the
table of contents, length of a comment."""
_LOCAL = struct.Struct("<4s5H3I2H")
"""What stands before a file's name and content: mark, version, flags, method, time, date, CRC,
2 sizes, lengths of the name and of extra fields."""
_ENTRY = 46
"""Bytes of a file in the table of contents, beside its name."""
_UTF8 = 0x800
_UNOWNED = "has bytes that no file owns"
_UNUSUAL = "is written as `challenge pack` does not write"


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
    refused = _no_zip(path, shown)
    if refused:
        return {}, [refused]
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        return {}, [Violation("invalid_entry", shown, f"is a damaged zip ({error})", AGAIN)]
    if len(infos) > MEMBERS:
        cause = f"holds {len(infos):,} files, an entry has at most {MEMBERS:,}"
        return {}, [Violation("invalid_entry", shown, cause, AGAIN)]
    problems: list[Violation] = []
    found: dict[str, zipfile.ZipInfo] = {}
    folded: dict[str, str] = {}
    for info in infos:
        other = folded.get(info.filename.casefold())
        fault = _fault(info)
        if fault is None and other is not None:
            fault = f"stands in the zip twice, also as `{one_line(other, 80)}`", AGAIN
        if fault is not None:
            place = f"{shown}/{one_line(info.orig_filename, 80)}"
            problems.append(Violation("invalid_entry", place, *fault))
        else:
            found[info.filename] = info
        folded[info.filename.casefold()] = info.filename
    problems += [problem for name in found if (problem := _unexpected(name, shown))]
    with path.open("rb") as raw:
        problems += _structure(raw, infos, shown)
    for name in found:
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                place = f"{shown}/{one_line(str(parent), 80)}"
                problems.append(
                    Violation("invalid_entry", place, "is a file and a folder at once", AGAIN)
                )
    return found, problems


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


def digest(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """SHA-256 of a member; raises `zipfile.BadZipFile` if it is damaged."""
    with file.open(info) as member:
        return Hashed(member).digest()


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


def _no_zip(path: Path, shown: str) -> Violation | None:
    """Why the file cannot be opened as a zip, found without reading much of it."""
    if not path.is_file():
        return Violation("invalid_entry", shown, "is not a file", AGAIN)
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(2)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    if tail[-_END.size :][:4] != b"PK\x05\x06":
        if b"PK\x05\x06" in tail:  # a comment, or what was put behind the zip
            return Violation("invalid_entry", shown, _UNOWNED, AGAIN)
        if begins == b"PK":
            return Violation("invalid_entry", shown, "is cut off", "copy or download it again")
        return Violation("invalid_entry", shown, "is not a zip file", AGAIN)
    _, disk, first, here, files, directory, _, comment = _END.unpack(tail[-_END.size :])
    if directory > DIRECTORY_LIMIT or tail[-_END.size - 20 :].startswith(b"PK\x06\x07"):
        return Violation("invalid_entry", shown, "has too long a table of contents", AGAIN)
    if disk or first or here != files or comment:
        return Violation("invalid_entry", shown, "is a damaged zip (its end is wrong)", AGAIN)
    return None


def _structure(file: BinaryIO, infos: Sequence[zipfile.ZipInfo], shown: str) -> Iterator[Violation]:
    """Whether the zip is nothing but its members, each described twice in the same way.

    They lie one behind another from the first byte, then their table of contents, then its end.
    So no reader of zips can see other files than Python's does, nothing hides between them, and
    the sizes of all members together are those of the zip.
    """
    position = table = 0
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info in ordered:
        if info.header_offset != position:
            where = "has files that overlap" if info.header_offset < position else _UNOWNED
            yield Violation("invalid_entry", shown, where, AGAIN)
            return
        length = len(_raw_name(info))
        position += _LOCAL.size + length + info.compress_size
        table += _ENTRY + length
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _END.size)
    *_, count, length, start, _ = _END.unpack(file.read(_END.size))
    if position > size - table - _END.size:
        yield Violation("invalid_entry", shown, "has files that overlap", AGAIN)
    elif position < size - table - _END.size:
        yield Violation("invalid_entry", shown, _UNOWNED, AGAIN)
    elif (count, length, start) != (len(infos), table, position):
        yield Violation("invalid_entry", shown, "is a damaged zip (its end is wrong)", AGAIN)
    file.seek(position)
    for info in infos:
        # Lengths of the name, of extra fields and of a comment, and the disk.
        told = struct.unpack_from("<4H", file.read(_ENTRY).ljust(_ENTRY), 28)
        if told != (len(file.read(len(_raw_name(info)))), 0, 0, 0):
            place = f"{shown}/{one_line(info.orig_filename, 80)}"
            yield Violation("invalid_entry", place, _UNUSUAL, AGAIN)
    for info in ordered:
        name = _raw_name(info)
        expected = (b"PK\x03\x04", info.flag_bits, info.compress_type, info.CRC,
                    info.compress_size, info.file_size, len(name), 0)  # fmt: skip
        file.seek(info.header_offset)
        header = file.read(_LOCAL.size)
        told = _LOCAL.unpack(header.ljust(_LOCAL.size))
        if told[:1] + told[2:4] + told[6:] != expected or file.read(len(name)) != name:
            place = f"{shown}/{one_line(info.orig_filename, 80)}"
            yield Violation("invalid_entry", place, "is not what the table of contents says", AGAIN)


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """A member's name as it stands in the zip."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _fault(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    """What is wrong with one member and what to do about it; None if nothing."""
    name, mode = info.filename, info.external_attr >> 16
    parts = name.split("/")
    if info.orig_filename != name or "\\" in info.orig_filename or not _NAME.fullmatch(name):
        return "has a name that is not allowed", AGAIN
    if any(part.lstrip(" ") != part or part.rstrip(" .") != part for part in parts):
        return "has a name that leads out of its folder", AGAIN
    if any(part.partition(".")[0].rstrip(" ").casefold() in DEVICES for part in parts):
        return "has a name that Windows keeps for a device", "rename it, train and pack again"
    if len(name) > LONGEST_NAME:
        return "has too long a name", AGAIN
    if stat.S_ISLNK(mode):
        return "is a link", AGAIN
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "is not a regular file", AGAIN
    if info.flag_bits & 0x1:
        return "is encrypted", AGAIN
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "is compressed", AGAIN
    if info.flag_bits & ~_UTF8:
        return _UNUSUAL, AGAIN
    return None


def _unexpected(name: str, shown: str) -> Violation | None:
    """The problem with a file that does not belong into an entry."""
    place = f"{shown}/{name}"
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PICKLES:
        remedy = "keep weights in the method's parameters and buffers, `train` saves them safely"
        cause = f"is a `{suffix}` file, a format that can run code when it is read"
        return Violation("unsafe_weights", place, cause, remedy)
    if suffix in ARCHIVES:
        remedy = "put the Python files that are in it beside the method, then pack again"
        return Violation("invalid_entry", place, "is an archive inside the entry", remedy)
    if name in (MANIFEST, CONFIG, WEIGHTS):
        return None
    inner = PurePosixPath(name)
    in_plugin = inner.parts[0] == PLUGIN and len(inner.parts) > 1
    if in_plugin and suffix == ".py" and not plugin.is_hidden(inner):
        return None
    return Violation("invalid_entry", place, "does not belong into an entry", AGAIN)
