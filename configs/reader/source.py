"""A YAML file that was read: its values, and where each of them stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import Mistake
from challenge.configs.reader import messages
from challenge.configs.reader.parser import KeyPath, Tree
from challenge.configs.reader.writer import flow, printable

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


@dataclass(frozen=True)
class Source:
    """A file with its overrides on top.

    `tree` is what the file says, not validated: dicts with text as keys, lists, None, bool, int,
    float, str and datetime.
    """

    path: Path
    tree: dict[str, Any]
    _places: Tree = field(default_factory=Tree, repr=False)

    def place(self, key: KeyPath) -> str:
        """Where `key` stands: `configs/tv.yaml:3`, or the override that gave it.

        A key that does not stand anywhere has the place of its nearest parent, else the file.
        """
        for end in range(len(key), 0, -1):
            if key[:end] in self._places.given:
                return f"`{printable(self._places.given[key[:end]], 80)}`"
            if key[:end] in self._places.lines:
                return f"{shown(self.path)}:{self._places.lines[key[:end]]}"
        return shown(self.path)

    def mistake(self, key: KeyPath, cause: str, remedy: str = "") -> Mistake:
        """A mistake at `key`."""
        return Mistake(self.place(key), cause, remedy)

    def explain(
        self,
        error: ValidationError,
        prefix: KeyPath = (),
        model: type[BaseModel] | None = None,
    ) -> list[Mistake]:
        """Every mistake that pydantic found below `prefix`, in the order of the lines.

        Args:
            model: the model that was validated; where left out it is found by the error's title.
        """
        found = []
        for complaint in messages.complaints(error, model):
            key = (*prefix, *complaint.key)
            dotted = printable(".".join(map(str, key)), 80)
            cause, remedy = f"`{dotted}` {complaint.words}", complaint.remedy
            if complaint.words == "is not a known key" and key in self._places.given:
                # An override is typed with the whole key.
                section = printable("".join(f"{each}." for each in key[:-1]), 80)
                remedy = remedy.replace("did you mean `", f"did you mean `{section}", 1)
            if complaint.shows_value:
                written = self._written(key, complaint.value)
                cause += f" (got {written})"
                if complaint.wants_quotes:  # a shell takes one pair of quotes away
                    inner = (
                        f"'{dotted}=\"{written}\"'" if key in self._places.given else f'"{written}"'
                    )
                    remedy = f"put it in quotes, `{inner}`"
            beside = self._beside(key) if complaint.words == "is missing" else None
            if beside is None:
                found.append(self.mistake(key, cause, remedy))
                continue
            # The file is not to blame for what an override asks for.
            remedy = remedy.replace(f"`{key[-1]}: ", f"`{dotted}=") or f"give `{dotted}=...`"
            found.append(Mistake(f"`{printable(beside, 80)}`", cause, remedy))
        return in_order(found)

    def _beside(self, key: KeyPath) -> str | None:
        """The override of another key of the same section, if there is one."""
        overrides = self._places.given.items()
        return next((text for each, text in overrides if each[:-1] == key[:-1]), None)

    def _written(self, key: KeyPath, value: Any) -> str:
        """A value as the user wrote it."""
        if value is None:
            return "nothing"
        text = self._places.texts.get(key) or (value if isinstance(value, str) else "")
        return printable(text or flow(value))


def in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Sort by line: first what concerns a whole file, then its lines, then overrides."""

    def line(mistake: Mistake) -> float:
        if mistake.place.startswith("`"):
            return float("inf")
        number = re.search(r":([0-9]+)$", mistake.place)
        return int(number[1]) if number else 0

    return sorted(mistakes, key=line)


def shown(path: Path) -> str:
    """A path as a reader knows it: relative where it lies below the current folder."""
    absolute = os.path.abspath(path)
    below = absolute == os.getcwd() or absolute.startswith(os.path.join(os.getcwd(), ""))
    return printable(os.path.relpath(absolute) if below else absolute, 500)
