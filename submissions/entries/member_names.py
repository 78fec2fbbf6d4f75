"""Which files an entry may hold: their names, kinds and endings."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from challenge.methods import plugin
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.entries.zip_structure import UNUSUAL, UTF8
from challenge.submissions.layout import CONFIG, CURVES, MANIFEST, PLUGIN, WEIGHTS

LONGEST_NAME = 200
"""Characters of a member's name: every file system takes them."""
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar",
            ".whl", ".egg", ".jar")  # fmt: skip
DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)
}
"""Names that are no files on Windows, whatever their ending and their folder."""
_NAME = re.compile(r"[A-Za-z0-9_. -]+(/[A-Za-z0-9_. -]+)*")


def fault(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    """What is wrong with one member and what to do about it; None if nothing."""
    name, mode = info.filename, info.external_attr >> 16
    parts = name.split("/")
    if info.orig_filename != name or "\\" in info.orig_filename or not _NAME.fullmatch(name):
        return "has a name that is not allowed", PACK_AGAIN
    if any(part.lstrip(" ") != part or part.rstrip(" .") != part for part in parts):
        return "has a name that leads out of its folder", PACK_AGAIN
    if any(part.partition(".")[0].rstrip(" ").casefold() in DEVICES for part in parts):
        return "has a name that Windows keeps for a device", "rename it, train and pack again"
    if len(name) > LONGEST_NAME:
        return "has too long a name", PACK_AGAIN
    if stat.S_ISLNK(mode):
        return "is a link", PACK_AGAIN
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "is not a regular file", PACK_AGAIN
    if info.flag_bits & 0x1:
        return "is encrypted", PACK_AGAIN
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "is compressed", PACK_AGAIN
    if info.flag_bits & ~UTF8:
        return UNUSUAL, PACK_AGAIN
    return None


def common_folder(names: Sequence[str]) -> str:
    """The folder that holds a whole entry, as somebody zips who unzipped it; "" if none does."""
    folder = names[0].partition("/")[0] if names else ""
    below = (name.partition("/")[0] == folder or is_of_macos(name) for name in names)
    return folder if f"{folder}/{MANIFEST}" in names and all(below) else ""


def is_of_macos(name: str) -> bool:
    """What its archiver and its file browser add to a folder."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def is_of_another_program(info: zipfile.ZipInfo) -> bool:
    """Whether a fault of a file is what a zip has that another program wrote.

    Compressed, with its size behind it, or listed with its folder.
    """
    regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
    folder = info.filename.endswith("/") and not info.file_size
    wrapped = info.compress_type != zipfile.ZIP_STORED or bool(info.flag_bits & ~UTF8)
    sane = _NAME.fullmatch(info.filename.rstrip("/")) and not info.flag_bits & 0x1
    return bool(sane) and (folder or (regular and wrapped))


def unexpected(name: str, shown: str) -> Violation | None:
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
    if name in (MANIFEST, CONFIG, WEIGHTS, CURVES):
        return None
    inner = PurePosixPath(name)
    in_plugin = inner.parts[0] == PLUGIN and len(inner.parts) > 1
    if in_plugin and suffix == ".py" and not plugin.is_hidden(inner):
        return None
    return Violation("invalid_entry", place, "does not belong into an entry", PACK_AGAIN)
