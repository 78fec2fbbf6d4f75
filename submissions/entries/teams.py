"""The organiser's list of teams: `teams.yaml` in the workspace.

teams:
  alpha: {members: [Ada, Grace]}
  beta: {members: [Emmy]}
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, ValidationError

from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Name
from challenge.data.layout import Workspace
from challenge.submissions import layout


class Team(Section):
    members: list[str] = []


class Teams(Section):
    """Team names and their members."""

    teams: Annotated[dict[Name, Team], Field(min_length=1)]

    def unknown(self, name: str) -> tuple[str, str] | None:
        """Cause and remedy when there is no team of this name."""
        if name in self.teams:
            return None
        return f"there is no team `{name}`", meant(name, self.teams, "teams")


def load(workspace: Workspace) -> Teams | None:
    """The list of a workspace; None where there is no such file: then any team name is good.

    Raises:
        UserError: with every mistake of the file.
    """
    path = layout.teams(workspace)
    if not path.exists():
        return None
    from challenge.configs import loader

    source = loader.read(str(path))
    try:
        return Teams.model_validate(source.tree)
    except ValidationError as error:
        raise UserError(*source.explain(error, model=Teams)) from error


def meant(name: str, known: Iterable[str], word: str) -> str:
    """A remedy: the nearest known name, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}{word}: {', '.join(names)}"
