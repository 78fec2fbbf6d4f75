"""Did you mean: the remedy for a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], count: int = 1, *, cutoff: float = 0.6) -> list[str]:
    """The known names that are near to `name`, the nearest first.

    Args:
        cutoff: how near a name must be, from 0 to 1, as `difflib` counts.
    """
    return get_close_matches(name, list(known), n=count, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], then: str = "", *, cutoff: float = 0.6) -> str:
    """A remedy: a question where a known name is near, then `then`."""
    near = nearest(name, known, cutoff=cutoff)
    question = f"did you mean `{near[0]}`?" if near else ""
    return f"{question} {then}".strip()
