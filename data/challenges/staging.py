"""Replace the public and the hidden folder of a challenge together, or not at all.

New folders are built beside the old ones and renamed at the end. Two renames cannot be one step,
so whoever comes after a kill finds out from the names how far it got, and undoes or finishes it:

    .<name>.partial   being built; complete once it has its manifest
    .<name>.old       what was there before, until the new folders are in place
    .<name>.trash     being deleted
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.challenges import seal
from challenge.data.challenges.challenge import open_challenge, read_manifest
from challenge.data.layout import Hidden, Public, Role, beside

_ROLES: tuple[Role, ...] = ("trash", "partial", "old")


@contextmanager
def replacing(public: Public, hidden: Hidden) -> Iterator[tuple[Public, Hidden]]:
    """Give two empty folders to fill; when the block ends well, they take their places.

    The hidden folder, its files and the folder of all hidden folders are readable by their owner
    only. After any failure the state is what it was before.
    """
    new_public = Public(beside(public.path, "partial"))
    new_hidden = Hidden(beside(hidden.path, "partial"))
    try:
        new_public.path.mkdir(parents=True)
        hidden.path.parent.mkdir(parents=True, exist_ok=True)
        hidden.path.parent.chmod(0o700)
        new_hidden.path.mkdir(mode=0o700)
        yield new_public, new_hidden
        _make_private(new_hidden.path)
        for folder in (new_hidden.path, new_public.path):
            _make_durable(folder)
        for folder in (public.path, hidden.path):
            if folder.exists():
                folder.replace(beside(folder, "old"))
        new_hidden.path.replace(hidden.path)
        new_public.path.replace(public.path)
    except BaseException:
        recover(public, hidden)
        raise
    for folder in (public.path, hidden.path):
        _sync(folder.parent)
        _discard(folder, "old")


def recover(public: Public, hidden: Hidden) -> str:
    """Undo or finish what an interrupted `prepare` left; says what was done, "" if nothing."""
    folders = (public.path, hidden.path)
    said = ""
    if not _agree(public, hidden):
        if any(beside(folder, "old").exists() for folder in folders):
            for folder in folders:
                if (old := beside(folder, "old")).exists():
                    _discard(folder)
                    old.replace(folder)
            said = "an interrupted replacement was undone"
        elif not public.path.exists() and _agree(Public(beside(public.path, "partial")), hidden):
            beside(public.path, "partial").replace(public.path)
            said = "an interrupted preparation was finished"
    for folder in folders:
        for role in _ROLES:
            if beside(folder, role).exists():
                said = said or "leftovers of an interrupted preparation were removed"
                _discard(folder, role)
    return said


def _agree(public: Public, hidden: Hidden) -> bool:
    """Whether both folders are complete and belong together."""
    try:
        open_challenge(public.path)
        return bool(read_manifest(public)["seal"] == seal.read(hidden)["seal"])
    except UserError:
        return False


def _discard(folder: Path, role: Role | None = None) -> None:
    """Delete a challenge's folder, or its sibling, under a name nobody takes for a whole one."""
    doomed = beside(folder, role) if role else folder
    trash = beside(folder, "trash")
    if doomed != trash:
        if trash.exists():
            shutil.rmtree(trash)
        if doomed.exists():
            doomed.replace(trash)
    if trash.exists():
        shutil.rmtree(trash)


def _make_private(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o700)
        for name in files:
            Path(parent, name).chmod(0o600)


def _make_durable(folder: Path) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            with Path(parent, name).open("rb+") as file:
                os.fsync(file.fileno())
        _sync(Path(parent))


def _sync(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
