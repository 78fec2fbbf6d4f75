"""The organiser's list of teams: `teams.yaml` in the workspace.

teams:
  alpha: {members: [Ada, Grace]}
  beta: {members: [Emmy]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Name, refusal
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.text import one_line

BASELINE = "baseline"
"""The team of packaged baselines, which no list names: judged and shown, not ranked."""


class Team(Section):
    members: list[str] = []


class Teams(Section):
    """Team names and their members."""

    teams: Annotated[dict[Name, Team], Field(min_length=1)]

    @field_validator("teams")
    @classmethod
    def _not_reserved(cls, teams: dict[str, Team]) -> dict[str, Team]:
        if BASELINE in teams:
            raise refusal(
                f"may not name a team `{BASELINE}`",
                "it is that of the toolkit's baselines, which needs no line: take it out",
            )
        return teams

    def unknown(self, name: str) -> tuple[str, str] | None:
        """Cause and remedy when there is no team of this name."""
        if name in self.teams or name == BASELINE:
            return None
        listed = f"teams: {', '.join(sorted(self.teams))}"
        return f"there is no team `{name}`", spelling.did_you_mean(name, self.teams, listed)


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


def misnamed(entry: Path, team: str, known: frozenset[str]) -> str:
    """Why the place or the name of a zip speaks of another team than its manifest; else empty.

    Args:
        team: as the manifest says.
        known: names of all teams.
    """
    folder, name = entry.resolve().parent.name, one_line(entry.name, 100)
    others = sorted(known - {team}, key=len, reverse=True)
    if folder in others:
        return f"{name} lies in the folder of `{folder}` and says that it is of team `{team}`"
    if entry.name.startswith(f"{team}-"):
        return ""
    named = next((other for other in others if entry.name.startswith(f"{other}-")), "")
    by = f", and is named after `{named}`" if named else ", which its name does not"
    return f"{name} says that it is of team `{team}`{by}"
