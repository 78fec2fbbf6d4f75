"""The zip of an entry: written so that the same contents give the same bytes, read with distrust.

Members are stored, not deflated, in the order of their names, with one date and one mode.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from challenge.submissions.entries import member_names, zip_structure
from challenge.submissions.entries.manifest import FILES
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.text import one_line

CHUNK = 1 << 20
DATE = (1980, 1, 1, 0, 0, 0)

AS_PACKED = "hand in the zip as `challenge pack` wrote it"

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


class Listing(NamedTuple):
    """What a zip says that it holds."""

    members: dict[str, zipfile.ZipInfo]
    """The files that may be read, by name."""
    problems: list[Violation]
    """Everything that is wrong with the zip itself."""
    refused: frozenset[str]
    """Names of files that are there, and of which it is said already what is wrong with them."""
    sound: bool
    """Whether the bytes are what the table of contents says, so that members can be read."""


def members(path: Path, shown: str) -> Listing:
    """The files of a zip by name, and everything that is wrong with the zip itself.

    Nothing is unpacked. `shown` is the name of the zip in the problems.
    """
    infos = _infos(path, shown)
    if isinstance(infos, Violation):
        return Listing({}, [infos], frozenset(), False)
    if folder := member_names.common_folder([info.filename for info in infos]):
        cause = f"is zipped anew: its files are in a folder, `{one_line(folder, 80)}`"
        return Listing(
            {}, [Violation("invalid_entry", shown, cause, AS_PACKED)], frozenset(), False
        )
    problems: list[Violation] = []
    found: dict[str, zipfile.ZipInfo] = {}
    folded: dict[str, str] = {}
    refused: set[str] = set()
    foreign: dict[str, str] = {}
    for info in infos:
        other = folded.get(info.filename.casefold())
        fault = member_names.fault(info)
        name = one_line(info.orig_filename, 80)
        if fault is None and other is not None:
            fault = f"stands in the zip twice, also as `{one_line(other, 80)}`", PACK_AGAIN
        if fault is not None:
            refused.add(info.filename)
            if member_names.is_of_another_program(info):
                foreign[name] = fault[0]
            else:
                problems.append(Violation("invalid_entry", f"{shown}/{name}", *fault))
        elif problem := member_names.unexpected(info.filename, shown):
            refused.add(info.filename)
            if member_names.is_of_macos(info.filename):
                foreign[name] = problem.cause
            else:
                problems.append(problem)
        else:
            found[info.filename] = info
        folded[info.filename.casefold()] = info.filename
    with path.open("rb") as raw:
        unusual = zip_structure.unusual(raw, infos)
        foreign |= {name: zip_structure.UNUSUAL for name in unusual if name not in foreign}
        # What another program wrote has its own order and bytes of its own between files.
        wrong = [] if foreign else list(zip_structure.differences(raw, infos, shown))
    if foreign:
        problems.append(_zipped_anew(foreign, shown))
    for name in found:
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                place = f"{shown}/{one_line(str(parent), 80)}"
                refused |= {name, str(parent)}
                problems.append(
                    Violation("invalid_entry", place, "is a file and a folder at once", PACK_AGAIN)
                )
    found = {name: info for name, info in found.items() if name not in refused}
    return Listing(found, problems + wrong, frozenset(refused), not (wrong or foreign))


def _infos(path: Path, shown: str) -> list[zipfile.ZipInfo] | Violation:
    """The table of contents, or why it cannot be read."""
    refused = zip_structure.cannot_open(path, shown)
    if refused:
        return refused
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        return Violation("invalid_entry", shown, f"is a damaged zip ({error})", PACK_AGAIN)
    if len(infos) > FILES:
        cause = f"holds {len(infos):,} files, an entry has at most {FILES:,}"
        return Violation("invalid_entry", shown, cause, PACK_AGAIN)
    return infos


def _zipped_anew(foreign: dict[str, str], shown: str) -> Violation:
    """One cause for all files of a zip that another program wrote."""
    name, cause = next(iter(foreign.items()))
    if len(foreign) == 1:
        return Violation("invalid_entry", f"{shown}/{name}", cause, PACK_AGAIN)
    cause = f"is zipped anew by another program: {len(foreign)} files, the first, `{name}`, {cause}"
    return Violation("invalid_entry", shown, cause, AS_PACKED)


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
