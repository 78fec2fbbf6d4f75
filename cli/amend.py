"""`challenge amend`: change a rule or a limit of a published challenge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from challenge.cli.shared.options import WORKSPACE, Overrides, PreparedChallenge, WorkspaceOption
from challenge.cli.shared.workspace import tell_format, use

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.challenges.rules import Change


def amend(
    challenge: PreparedChallenge,
    overrides: Overrides = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Change a rule or a limit after the challenge was published.

    Entries stay valid. What decides images, measurements or scores cannot be changed. Every
    change is kept in `rules.yaml`, with its date, and shown on the board. Without a setting: the
    rules that hold, and every change so far.

    Example: challenge amend deblur rules.deadline=2026-12-05T17:00:00Z
    """
    from challenge.cli.shared.console import show, warn
    from challenge.cli.shared.kinds import expect_name
    from challenge.data.challenges.amend import amend as amend_challenge
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Public, Workspace

    expect_name(challenge, "amend")
    place = Workspace(workspace)
    use(place.public(challenge))
    tell_format(place.public(challenge))
    if not overrides:
        opened = open_challenge(place.public(challenge).path)
        _show_rules(opened)
        return
    done = amend_challenge(place, challenge, overrides)
    if not done.changes:
        show("nothing changed: everything is so already")
        return
    for change in done.changes:
        show(f"changed  {change}")
    for line in _effects(done.changes):
        show(line)
    deadline = done.challenge.config.rules.deadline
    moved = any(change.key == "rules.deadline" for change in done.changes)
    if moved and deadline is not None and deadline < datetime.now(UTC):
        warn("this deadline has passed: nothing that is handed in from now on counts")
    show(f"give     {Public(done.challenge.path).rules} to the teams, in place of theirs")


def _show_rules(challenge: Challenge) -> None:
    from challenge.cli.shared.console import show
    from challenge.data.challenges.rules import shown

    for section in ("rules", "limits"):
        for name, value in getattr(challenge.standing.terms, section):
            show(f"{f'{section}.{name}':22} {shown(value)}")
    show(f"rules {challenge.standing.digest[:16]}: {challenge.standing.version}")
    for change in challenge.standing.changes:
        show(f"{shown(change.at)}  {change}")


def _effects(changes: tuple[Change, ...]) -> list[str]:
    """What becomes of entries and verdicts, a line for each kind of change."""
    keys = {change.key for change in changes}
    said = ["entries  those packed before stay valid"]
    if keys & {"rules.deadline", "rules.entries_per_day", "rules.counts"}:
        said.append("board    counts by the new rules from now on; no verdict changes")
    if keys & {"rules.packages", "rules.pretrained", "rules.external_data"}:
        said.append("verdicts `challenge score` checks entries by the new rules: score them again")
    if any(key.startswith("limits.") for key in keys):
        said.append("verdicts were made under other limits: score all entries again")
    return said
