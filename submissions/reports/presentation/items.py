"""What a report is made of: sections of items, which a page and a deck of slides both show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from challenge.configs.errors import UserError
from challenge.submissions.reports.pages.figures import Drawing
from challenge.submissions.reports.pages.images import Photo
from challenge.submissions.reports.pages.tables import Table
from challenge.submissions.text import one_sentence

LONGEST = 300
"""Characters of what an exception says."""


@dataclass(frozen=True)
class Words:
    """Paragraphs, or a list; `absent` where they say why something is not there."""

    title: str
    lines: tuple[str, ...]
    listed: bool = False
    absent: bool = False
    kind = "words"


@dataclass(frozen=True)
class Number:
    """A number with its name and, smaller, what is to be known of it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Numbers:
    title: str
    numbers: tuple[Number, ...]
    kind = "numbers"


@dataclass(frozen=True)
class Figure:
    title: str
    drawing: Drawing
    kind = "figure"


@dataclass(frozen=True)
class Listing:
    """A table; a deck leaves out one that is `long`."""

    title: str
    table: Table
    long: bool = False
    kind = "listing"


@dataclass(frozen=True)
class Shown:
    """A picture with the lines below it."""

    photo: Photo
    name: str
    lines: tuple[str, ...] = ()
    identity: str = ""
    """In the page, where a slider shows the picture too: letters, digits and hyphens."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of one place side by side, with a lens over all of them where they are of a size."""

    title: str
    shown: tuple[Shown, ...]
    note: str = ""
    lens: bool = True
    kind = "pictures"


@dataclass(frozen=True)
class BeforeAfter:
    """Two pictures over each other, by their identities in the page."""

    title: str
    before: Shown
    afters: tuple[Shown, ...]
    kind = "before_after"


@dataclass(frozen=True)
class Code:
    """Commands, or a file."""

    title: str
    text: str
    long: bool = False
    kind = "code"


Item = Words | Numbers | Figure | Listing | Pictures | BeforeAfter | Code


@dataclass(frozen=True)
class Section:
    """A chapter of a report."""

    identity: str
    """In the page's address: `#evaluation`."""
    title: str
    items: tuple[Item, ...]


def drawings(sections: Iterable[Section]) -> Iterator[Drawing]:
    """Every figure of a report."""
    for section in sections:
        for item in section.items:
            if isinstance(item, Figure):
                yield item.drawing


def tables(sections: Iterable[Section]) -> Iterator[Table]:
    """Every table of a report."""
    for section in sections:
        for item in section.items:
            if isinstance(item, Listing):
                yield item.table


def absent(*lines: str, title: str = "") -> Words:
    """A sentence in place of what is not there."""
    return Words(title, lines, absent=True)


def failed(what: str, error: Exception, *, title: str) -> Words:
    """One short sentence in place of what an exception has kept from being there.

    Args:
        what: was not done, such as `Not analysed`.
        error: of a method, whose words may be of any length, on any number of lines, or fail.
        title: of the item.
    """
    if isinstance(error, UserError):
        cause = error.mistakes[0].cause
    else:
        try:
            cause = f"{type(error).__name__}: {error}"
        except Exception:  # it fails to describe itself
            cause = type(error).__name__
    return absent(f"{what}: {one_sentence(cause, LONGEST)}.", title=title)
