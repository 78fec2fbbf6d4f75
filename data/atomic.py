"""Writes that are whole or absent: temporary file, fsync, rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.configs.escaping import json_text

_CAUSES: tuple[tuple[tuple[int, ...], str, str], ...] = (
    (
        (errno.ENOSPC, errno.EDQUOT),
        "the disk is full",
        "free some space and run the same command again",
    ),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "cannot be written",
        "check its permissions or give another --workspace",
    ),
    (
        (errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        "a file stands where a folder is needed",
        "give another --workspace",
    ),
    ((errno.ENAMETOOLONG,), "the name is too long", "give a shorter one"),
    ((errno.EMFILE, errno.ENFILE), "too many files are open", "raise the limit: `ulimit -n 4096`"),
    ((errno.EIO, errno.ESTALE), "the drive reports an error", "look at it, then try again"),
)


def disk_mistake(error: OSError, place: object) -> UserError | None:
    """What a user can do about an error of the disk; None where it is another kind of error."""
    if isinstance(error, FileNotFoundError) and "usable temporary directory" in str(error):
        remedy = "free some space there, or let TMPDIR name a folder that can be written"
        return UserError.of("the temporary folder", "cannot be written", remedy)
    for numbers, cause, remedy in _CAUSES:
        if error.errno in numbers:
            return UserError.of(place, cause, remedy)
    return None


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn an error of the disk, such as a full one, into a `UserError` that names `place`."""
    try:
        yield
    except OSError as error:
        if mistake := disk_mistake(error, place):
            raise mistake from error
        raise


def write_with(path: Path, write: Callable[[Path], None], mode: int = 0o644) -> None:
    """Call `write` on a temporary sibling of `path`, make it durable, and rename it to `path`."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(mode)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def write_bytes(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write `content` to `path`, whole or not at all."""
    write_with(path, lambda temporary: _put(temporary, content), mode)


def write_text(path: Path, content: str, mode: int = 0o644) -> None:
    """Write `content` to `path` as UTF-8 with `\\n` line ends, whole or not at all."""
    write_bytes(path, content.encode(), mode)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` as indented JSON, what is not printable written out; NaN is refused."""
    write_text(path, json_text(value), mode)


@contextmanager
def new_tree(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well it takes the place of `path`.

    When it does not, what was there before stays, and nothing of the new folder is left.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        made.chmod(0o755)
        try:
            yield made
            remove_tree(path)
            made.rename(path)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed left of writing `path`. Nobody may be writing it."""
    for pattern in (f".{path.name}.*.partial", f".{path.name}.*.old"):
        for left in path.parent.glob(pattern):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder by renaming it away first, so that it is never seen half-deleted."""
    if path.exists():
        with disk_errors(path):
            away = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
            path.replace(away / path.name)
            shutil.rmtree(away)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
