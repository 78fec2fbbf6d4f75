"""What a user did wrong, told in one line: place, cause, remedy."""

from __future__ import annotations

from dataclasses import dataclass

from challenge.configs.escaping import escape


@dataclass(frozen=True)
class Mistake:
    """One mistake of a user, in words that fit one line, whatever names are in them.

    `place` is where (a file with its line, a path, an option), `cause` what is wrong there, and
    `remedy` what to do about it. Values stand in backticks, no text ends with a full stop.
    """

    place: str
    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.cause}" if self.place else self.cause
        return escape(f"{text}; {self.remedy}" if self.remedy else text)


class UserError(Exception):
    """One or more mistakes of a user. The command line prints one line each and exits with 2.

    Anything else that is raised is a bug of ours and keeps its traceback.
    """

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes

    @classmethod
    def of(cls, place: object, cause: str, remedy: str = "") -> UserError:
        """Build the error for a single mistake."""
        return cls(Mistake(str(place), cause, remedy))
