"""Whether the bytes of a zip are what its table of contents says, and nothing else."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.text import one_line

DIRECTORY_LIMIT = 1_000_000
"""Bytes of the zip's own table of contents that are read at all."""
UTF8 = 0x800
"""The flag of a name that is not ASCII."""
UNUSUAL = "is written as `challenge pack` does not write"
_END = struct.Struct("<4s4H2IH")
"""The last 22 bytes of a zip: mark, 2 disk numbers, 2 counts of files, bytes and place of the
table of contents, length of a comment."""
_LOCAL = struct.Struct("<4s5H3I2H")
"""What stands before a file's name and content: mark, version, flags, method, time, date, CRC,
2 sizes, lengths of the name and of extra fields."""
_ENTRY = 46
"""Bytes of a file in the table of contents, beside its name."""
_UNOWNED = "has bytes that no file owns"


def cannot_open(path: Path, shown: str) -> Violation | None:
    """Why the file cannot be opened as a zip, found without reading much of it."""
    if not path.is_file():
        return Violation("invalid_entry", shown, "is not a file", PACK_AGAIN)
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(2)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    if tail[-_END.size :][:4] != b"PK\x05\x06":
        if b"PK\x05\x06" in tail:  # a comment, or what was put behind the zip
            return Violation("invalid_entry", shown, _UNOWNED, PACK_AGAIN)
        if begins == b"PK":
            return Violation("invalid_entry", shown, "is cut off", "copy or download it again")
        return Violation("invalid_entry", shown, "is not a zip file", PACK_AGAIN)
    _, disk, first, here, files, directory, _, comment = _END.unpack(tail[-_END.size :])
    if directory > DIRECTORY_LIMIT or tail[-_END.size - 20 :].startswith(b"PK\x06\x07"):
        return Violation("invalid_entry", shown, "has too long a table of contents", PACK_AGAIN)
    if disk or first or here != files or comment:
        return Violation("invalid_entry", shown, "is a damaged zip (its end is wrong)", PACK_AGAIN)
    return None


def differences(
    file: BinaryIO, infos: Sequence[zipfile.ZipInfo], shown: str
) -> Iterator[Violation]:
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
            yield Violation("invalid_entry", shown, where, PACK_AGAIN)
            return
        length = len(_raw_name(info))
        position += _LOCAL.size + length + info.compress_size
        table += _ENTRY + length
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _END.size)
    *_, count, length, start, _ = _END.unpack(file.read(_END.size))
    if position > size - table - _END.size:
        yield Violation("invalid_entry", shown, "has files that overlap", PACK_AGAIN)
    elif position < size - table - _END.size:
        yield Violation("invalid_entry", shown, _UNOWNED, PACK_AGAIN)
    elif (count, length, start) != (len(infos), table, position):
        yield Violation("invalid_entry", shown, "is a damaged zip (its end is wrong)", PACK_AGAIN)
    for info in ordered:
        name = _raw_name(info)
        expected = (b"PK\x03\x04", info.flag_bits, info.compress_type, info.CRC,
                    info.compress_size, info.file_size, len(name), 0)  # fmt: skip
        file.seek(info.header_offset)
        header = file.read(_LOCAL.size)
        read = _LOCAL.unpack(header.ljust(_LOCAL.size))
        if read[:1] + read[2:4] + read[6:] != expected or file.read(len(name)) != name:
            place = f"{shown}/{one_line(info.orig_filename, 80)}"
            yield Violation(
                "invalid_entry", place, "is not what the table of contents says", PACK_AGAIN
            )


def unusual(file: BinaryIO, infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Files that the table of contents describes with more than `challenge pack` writes of them.

    With extra fields or a comment, as other programs do.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _END.size)
    *_, start, _ = _END.unpack(file.read(_END.size))
    file.seek(start)
    found = []
    for info in infos:
        # Lengths of the name, of extra fields and of a comment, and the disk.
        head = file.read(_ENTRY)
        if head[:4] != b"PK\x01\x02":
            return []  # the table is not where the end says
        length, *more = struct.unpack_from("<4H", head.ljust(_ENTRY), 28)
        file.seek(length + more[0] + more[1], os.SEEK_CUR)
        if more != [0, 0, 0]:
            found.append(one_line(info.orig_filename, 80))
    return found


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """A member's name as it stands in the zip."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")
