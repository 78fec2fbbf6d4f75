"""An entry is taken in: a copy that nobody else can write to, of no more bytes than it may have.

What is hashed, checked and judged is that copy. A file that is larger than any entry is not
copied: it is checked where it lies, which reads its table of contents and what its weights' header
says of their types.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data import reading
from challenge.data.hashing import digest, digest_json

ROOM = 2_000_000
"""Bytes of a zip beside its files: what stands before each, and the table of contents."""
BEGINNING = 1_000_000
"""Bytes of a file that is too large by which it is known, together with its size."""
_REMEDY = "give a zip made by `challenge pack`"


@dataclass(frozen=True)
class Taken:
    """An entry that was taken in."""

    path: Path
    """To be checked and unpacked: the copy; the file itself where it is too large to be one."""
    hash: str
    """SHA-256, 64 hex digits: of the content; of beginning and size where it is too large."""
    too_large: bool


def take(entry: Path, folder: Path, limits: Limits) -> Taken:
    """Copy an entry into a folder, if it may be one by its kind and size.

    Raises:
        UserError: there is no such file; it is a folder, a pipe or a device.
    """
    largest = round(limits.weights_mb * 1_000_000) + ROOM
    copy = folder / "entry.zip"
    try:
        if other := reading.kind(entry):
            raise UserError.of(entry, f"is {other}, not an entry", _REMEDY)
        with reading.opened(entry) as file:
            size = os.fstat(file.fileno()).st_size
            most = BEGINNING if size > largest else largest + 1
            copied = reading.copy(file, copy, most)
    except FileNotFoundError:
        raise UserError.of(entry, "does not exist", _REMEDY) from None
    if size > largest or copied > largest:
        return Taken(entry, _of_beginning(digest(copy), size), True)
    return Taken(copy, digest(copy), False)


def identify(entry: Path, limits: Limits) -> str:
    """The hash that `take` gives an entry, without a copy.

    Raises:
        UserError: it is no file.
        OSError: it cannot be read.
    """
    largest = round(limits.weights_mb * 1_000_000) + ROOM
    with reading.opened(entry) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            return _of_beginning(hashlib.sha256(file.read(BEGINNING)).hexdigest(), size)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_beginning(begins: str, size: int) -> str:
    return digest_json({"begins": begins, "bytes": size})
