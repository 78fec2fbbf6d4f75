"""The organiser's list of teams: `teams.yaml` in the workspace.

teams:
  alpha: {members: [Ada, Grace]}
  beta: {members: [Emmy]}
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.configs.schema.section import Section
from challenge.configs.schema.values import Name, refusal
from challenge.data.layout import Workspace
from challenge.submissions import layout

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
