"""Ids of photographs, which are the names of their files in a prepared challenge.

The id is the file's stem with every character beside A-Z, a-z, 0-9, _ and - replaced by _. Where
that says too little, because the name has letters beyond ASCII or two files would have the same
id, eight digits of the SHA-256 of the file's path below its folder follow. So an id does not
depend on the order of the files, and two of a folder never have the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_DIGITS = 8
_LONGEST = 180
"""Characters of a stem before the digits: names of files end at 255 bytes."""


def identities(folder: Path, files: Sequence[Path]) -> dict[Path, str]:
    """The id of every file of a folder; no two are the same, in a file system without case too."""
    digits = {file: 0 if file.stem.isascii() else _DIGITS for file in files}
    while True:
        ids = {file: _identity(folder, file, digits[file]) for file in files}
        counts = Counter(identity.casefold() for identity in ids.values())
        again = [file for file in files if counts[ids[file].casefold()] > 1]
        if not again:
            return ids
        for file in again:
            digits[file] += _DIGITS


def slug(text: str) -> str:
    """`text` with every character beside A-Z, a-z, 0-9, _ and - replaced by _."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def _identity(folder: Path, file: Path, digits: int) -> str:
    if not digits:
        return slug(file.stem)
    # Letters with accents lose them, rather than being lost.
    plain = unicodedata.normalize("NFKD", file.stem)
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    path = os.fsencode(file.relative_to(folder).as_posix())
    return f"{slug(plain)[:_LONGEST]}-{hashlib.sha256(path).hexdigest()[:digits]}"
