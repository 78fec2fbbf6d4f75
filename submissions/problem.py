"""What is wrong with an entry: an outcome of the judge with place, cause and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from challenge.configs.errors import Mistake, UserError
from challenge.submissions.outcomes import Outcome

LONGEST = 1000
"""Characters of a place, a cause, a remedy: an entry may hold names of any length."""


@dataclass(frozen=True)
class Problem:
    """One reason why an entry is refused."""

    outcome: Outcome
    place: str
    cause: str
    remedy: str

    @property
    def mistake(self) -> Mistake:
        """The problem as a line; names from the entry cannot act on a terminal or break it."""
        return Mistake(*map(_line, (self.place, self.cause, self.remedy)))


def _line(text: str) -> str:
    """Text on one line: what is not printable, line ends of every kind too, is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text[:LONGEST]
    )[:LONGEST]


def outcome_of(problems: Sequence[Problem]) -> Outcome:
    """The outcome of an entry with these problems: the gravest one."""
    found = {problem.outcome for problem in problems}
    order: tuple[Outcome, ...] = ("unsafe_weights", "oversize", "invalid_entry")
    return next((outcome for outcome in order if outcome in found), "ok")


def refusal(problems: Sequence[Problem]) -> UserError:
    """The problems as the error of a user."""
    return UserError(*(problem.mistake for problem in problems))
