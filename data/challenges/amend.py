"""Change rules or limits of a published challenge: the newest `rules.yaml`, with its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from challenge.configs import loader
from challenge.configs.errors import Mistake, UserError
from challenge.configs.reader.writer import printable
from challenge.configs.schema.challenge import Terms
from challenge.data import atomic, locks
from challenge.data.challenges import rules
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.rules import Change
from challenge.data.layout import Workspace

_DECIDES = {
    "name": "names the challenge, in every entry and verdict",
    "images": "decides the images",
    "operator": "decides the measurements",
    "noise": "decides the measurements",
    "seed": "decides the splits, and the noise of train and val",
    "metric": "decides the scores, and is sealed",
    "rules": "decides what was published",
}
"""Why a section stays as it was prepared; of `rules`, that is `_PUBLISHED`."""
_PUBLISHED = {"rules.test_measurements", "rules.final_share"}


@dataclass(frozen=True)
class Amended:
    """What `amend` did."""

    challenge: Challenge
    """As it stands now."""
    changes: tuple[Change, ...]
    """Those that were made; none where everything was so already."""


def amend(workspace: Workspace, name: str, overrides: Sequence[str]) -> Amended:
    """Change rules and limits of a prepared challenge, whoever has its hidden folder.

    Entries, results and the seal stay as they are: none of them depends on what may be changed.

    Args:
        workspace: the organiser's.
        name: of the challenge.
        overrides: `rules.deadline=2026-12-05T17:00:00Z`, as everywhere.

    Raises:
        UserError: a key or a value is wrong, a key decides measurements or scores, or the hidden
            folder is not here; nothing is changed then.
    """
    public, hidden = workspace.public(name), workspace.hidden(name)
    open_challenge(public.path)  # whose own mistake comes first
    if not hidden.key.is_file():
        cause = "is not here, and only who has it changes the rules"
        raise UserError.of(hidden.path, cause, "give the organiser's `--workspace`")
    with atomic.disk_errors(public.path), locks.in_turn(hidden.rules_lock):
        opened = open_challenge(public.path)
        rules.compare(public, hidden.rules, opened.standing)
        if mistakes := _fixed(overrides, name):
            raise UserError(*mistakes)
        after, _ = loader.load_challenge(opened.config.model_dump(), overrides)
        now = datetime.now(UTC).replace(microsecond=0)
        standing = rules.changed(opened.standing, after.terms, now)
        made = standing.changes[len(opened.standing.changes) :]
        if made:
            # The organiser's own first: whatever stops it in between, `compare` names the remedy.
            rules.write(hidden.rules, standing, 0o600)
            rules.write(public.rules, standing)
    return Amended(open_challenge(public.path), made)


def _fixed(overrides: Sequence[str], name: str) -> list[Mistake]:
    """A mistake for every override of what decides images, measurements or scores, or of all.

    A section as a whole would set what it does not name, such as a deadline, to its default.
    """
    mistakes = []
    for text in overrides:
        key = text.partition("=")[0].strip()
        section = key.partition(".")[0]
        place = f"`{printable(text, 80)}`"
        if section in _DECIDES and (section != "rules" or key in _PUBLISHED):
            mistakes.append(_refused(place, section, name))
        elif key in Terms.model_fields:
            remedy = f"name each key that changes, `{key}.KEY=VALUE`"
            mistakes.append(Mistake(place, f"would replace all `{key}`", remedy))
    return mistakes


def _refused(place: str, section: str, name: str) -> Mistake:
    cause = f"cannot be changed once published: it {_DECIDES[section]}"
    remedy = f"prepare another challenge, `challenge prepare {name} name={name}-2 KEY=VALUE`"
    return Mistake(place, cause, remedy)
