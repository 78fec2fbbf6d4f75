"""What is wrong with an entry: an outcome of the judge with place, cause and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from challenge.configs.errors import Mistake, UserError
from challenge.submissions.outcomes import Outcome
from challenge.submissions.text import one_line

PACK_AGAIN = "pack the run again with `challenge pack`"
"""The remedy where an entry is not as it was packed."""


@dataclass(frozen=True)
class Violation:
    """One reason why an entry is refused."""

    outcome: Outcome
    place: str
    cause: str
    remedy: str

    @property
    def mistake(self) -> Mistake:
        """The problem as a line; names from the entry cannot act on a terminal or break it."""
        return Mistake(*map(one_line, (self.place, self.cause, self.remedy)))


def outcome_of(problems: Sequence[Violation]) -> Outcome:
    """The outcome of an entry with these problems: the gravest one."""
    found = {problem.outcome for problem in problems}
    order: tuple[Outcome, ...] = ("unsafe_weights", "oversize", "invalid_entry")
    return next((outcome for outcome in order if outcome in found), "ok")


def refusal(problems: Sequence[Violation]) -> UserError:
    """The problems as the error of a user."""
    return UserError(*(problem.mistake for problem in problems))
