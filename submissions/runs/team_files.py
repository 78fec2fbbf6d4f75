"""A team's own Python files, as a run keeps them."""

from __future__ import annotations

import shutil
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.methods import plugin

MOST = 500
"""Python files beside a method; more is a folder that holds something else as well."""


def of(source: Path) -> list[Path]:
    """The Python files beside a method's file, itself among them, relative to its folder.

    Raises:
        UserError: too many files lie beside it.
    """
    names = plugin.files(source.parent)
    if len(names) > MOST:
        cause = f"there are {len(names)} Python files beside the method"
        raise UserError.of(source, cause, "put the method into a folder of its own")
    return names


def copy(source: Path, target: Path) -> str:
    """Copy a method's file with the Python files beside it; the file's name in the copy.

    Raises:
        UserError: too many files lie beside it.
    """
    for name in of(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / name, target / name)
    return source.name
