"""Which slices are one patient's: neighbours of a scan are alike, so they stay in one split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from challenge.configs.schema.images import SliceImages


def owners(config: SliceImages, files: Sequence[Path]) -> dict[Path, Path]:
    """The patient of each file, named by a file or a folder.

    With `auto` that is the first folder below the one that all files share, since studies and
    series lie in folders of their own; a file in none is a patient by itself.
    """
    if config.patients == "file" or not files:
        return {file: file for file in files}
    if config.patients == "folder":
        return {file: file.parent for file in files}
    shared = Path(os.path.commonpath([file.parent for file in files]))
    return {file: shared / file.relative_to(shared).parts[0] for file in files}


def told(config: SliceImages, found: dict[Path, Path]) -> str:
    """What `auto` took for a patient, in one line; empty where the config says it."""
    if config.patients != "auto" or not found:
        return ""
    folders = {owner for file, owner in found.items() if owner != file}
    alone = sum(owner == file for file, owner in found.items())
    where = os.path.commonpath([owner.parent for owner in found.values()])
    if not folders:
        return (
            f"{where}: every slice counts as a patient of its own, so that neighbours of one scan "
            "may be in train and in test; put the slices of each patient into a folder, or give "
            "`images.patients=file`"
        )
    count = "1 patient" if len(folders) == 1 else f"{len(folders)} patients"
    told = f"{where}: {count}, each a folder with all that is below it"
    return f"{told}, and {alone} slices in none, each a patient of its own" if alone else told
