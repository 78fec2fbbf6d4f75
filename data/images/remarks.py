"""What is said about many files, a line for each kind of thing."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

NAMED = 5
"""Files that a line names, before it counts the others."""


class Remarks:
    """Phrases about files, collected to be said once."""

    def __init__(self) -> None:
        self._files: dict[str, list[Path]] = defaultdict(list)

    def add(self, file: Path, *phrases: str) -> None:
        for phrase in phrases:
            self._files[phrase].append(file)

    def lines(self) -> list[str]:
        """For each phrase, the files and the phrase; a single file with its whole path."""
        return [f"{named(files)}: {phrase}" for phrase, files in self._files.items()]


def named(files: list[Path]) -> str:
    """The path of one file, or the names of several, the first ones of many."""
    if len(files) == 1:
        return str(files[0])
    names = [file.name for file in files[:NAMED]]
    if more := len(files) - len(names):
        return f"{', '.join(names)} and {more} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"
