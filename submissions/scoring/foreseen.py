"""The resolution of a test set as two baselines tell it before anybody submits: `resolution.json`.

It is advice, no part of what is sealed: the board tells it again from the entries themselves.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from challenge.configs.schema.section import Section
from challenge.data import atomic, reading
from challenge.data.layout import Public
from challenge.submissions.scoring.ranking import FEW, FEWEST, resolution


class Foreseen(Section):
    """What is foreseen."""

    format: Literal[1] = 1
    methods: tuple[str, str]
    """Whose differences they are."""
    images: Annotated[int, Field(ge=2)]
    """Of the test set, on which they were compared."""
    spread: Annotated[float, Field(ge=0)]
    """Standard deviation of their difference of PSNR over images, in dB."""
    resolution: Annotated[float, Field(ge=0)]
    """The smallest mean difference that is found with 80 % power, in dB."""


def read(public: Public) -> Foreseen | None:
    """What a challenge says of it; None where nothing was foreseen, or the file is damaged."""
    try:
        return Foreseen.model_validate_json(reading.bounded(public.resolution))
    except (OSError, ValueError, ValidationError):
        return None


def write(public: Public, found: Foreseen) -> None:
    """Put it into the public folder."""
    atomic.write_json(public.resolution, found.model_dump(mode="json"))


def sizes(count: int, share: float) -> tuple[int, int]:
    """Images of the public and of the final part; of two images or more, neither is empty.

    Args:
        count: images of the test set.
        share: of them in the final part, in (0, 1).
    """
    final = min(max(round(share * count), 1), max(count - 1, 1))
    return count - final, final


def ranked(count: int, share: float | None) -> int:
    """Images by which entries are ranked: of the smaller part, where the rules split them."""
    return count if share is None else min(sizes(count, share))


def lines(count: int, found: Foreseen | None, share: float | None = None) -> list[str]:
    """What a test set of so many images can show, in sentences.

    Args:
        count: images of the whole test set.
        found: what was foreseen.
        share: `rules.final_share`; no board is about more than a part then, so what is said of
            images is of the smaller one.
    """
    if share is not None:
        public, final = sizes(count, share)
        part = ranked(count, share)
        if found is not None and part >= 2:
            known = {"resolution": resolution(found.spread, part)}
            found = found.model_copy(update=known)
        return [
            f"Parts: {_images(public)} during the week, {_images(final)} on the last day.",
            *lines(part, found),
        ]
    if count < FEWEST:
        return [
            f"On {_images(count)} no two entries are called different: that takes {FEWEST} images."
        ]
    said = []
    if found is not None:
        said.append(
            f"Resolution: about {found.resolution:.2g} dB, the smallest difference that "
            f"{_images(count)} show in 80 of 100 cases, where two entries differ from image to "
            f"image as {' and '.join(found.methods)} do."
        )
    if warning := few(count):
        said.append(warning)
    return said


def few(count: int) -> str:
    """The warning where a test set is small, else empty."""
    if count >= FEW:
        return ""
    return f"{_images(count)} show large differences only: {FEW} or more show smaller ones."


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
