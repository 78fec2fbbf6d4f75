"""Open a run or a packed entry as a method."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.submissions.entries import archive
from challenge.submissions.entries.check import check
from challenge.submissions.entries.violations import refusal
from challenge.submissions.inference.loading import load_folder
from challenge.submissions.layout import Run
from challenge.submissions.runs.facts import read_facts

if TYPE_CHECKING:
    from challenge.configs.schema.challenge import Limits
    from challenge.methods.contract import Method


def load(path: Path | str) -> Method:
    """The method of a run's folder or of a packed entry, with its weights, in eval mode.

    This runs the team's code, unprotected: open only what you trust.

    Raises:
        UserError: the path is neither, or the entry has problems.
    """
    path = Path(path)
    if path.is_dir():
        read_facts(Run(path))
        return load_folder(path)
    with unpacked(path) as folder:
        return load_folder(folder)


@contextmanager
def unpacked(path: Path, limits: Limits | None = None) -> Iterator[Path]:
    """A folder with the files of a packed entry, which was checked; it goes at the end.

    Args:
        path: the zip.
        limits: those of a challenge; the default ones where it is opened for none.

    Raises:
        UserError: the entry has problems.
    """
    problems = check(path, limits=limits)
    if problems:
        raise refusal(problems)
    with tempfile.TemporaryDirectory(prefix="challenge-") as folder:
        archive.extract(path, Path(folder))
        yield Path(folder)
