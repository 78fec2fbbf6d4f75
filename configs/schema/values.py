"""The kinds of value the schema is made of, with what they refuse and what to write instead."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError


def refusal(cause: str, remedy: str = "") -> PydanticCustomError:
    """The error a validator raises; `cause` goes on after the key: "must be ..."."""
    return PydanticCustomError("refusal", "{cause}", {"cause": cause, "remedy": remedy})


def _no_boolean(value: Any) -> Any:
    """Python counts true as 1; nobody who writes `steps: true` means one step."""
    if isinstance(value, bool):
        raise refusal("must be a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]

Seed = Annotated[Whole, Field(ge=0, lt=2**63)]


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", text):
        close = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]
        raise refusal(
            "must be lower-case letters, digits, `_` and `-`, at most 63 of them",
            f"for example `{close or 'my-method'}`",
        )
    return text


Name = Annotated[str, AfterValidator(_name)]
"""A name that becomes a folder: lower-case letters, digits, `_` and `-`, at most 63."""


def _level(sigma: float) -> float:
    if sigma <= 0:
        raise refusal("must be greater than 0", "for nearly noise-free data write 0.001")
    if sigma > 1:
        scaled = f", {sigma:g}/255 is {sigma / 255:.3g}" if sigma <= 255 else ""
        raise refusal("must be at most 1", f"images live in [0, 1]{scaled}")
    return sigma


def _ordered(levels: tuple[float, float]) -> tuple[float, float]:
    if levels[0] > levels[1]:
        raise refusal("must be written [low, high]")
    return levels


Level = Annotated[Number, AfterValidator(_level)]
"""A standard deviation of noise, in units of the image range [0, 1]."""

Levels = Annotated[tuple[Level, Level], AfterValidator(_ordered)]
"""A range [low, high] of noise levels."""


def _no_seconds(value: Any) -> Any:
    """pydantic would take a number for seconds since 1970."""
    if value is None or isinstance(value, datetime) or re.match(r"\d+-", str(value)):
        return value
    raise refusal("must be a date and time", "for example 2026-12-04T17:00:00Z")


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise refusal(
            "must have a time zone",
            f"write {moment.isoformat()}Z for UTC, or for example +01:00 in place of Z",
        )
    return moment


Moment = Annotated[datetime, BeforeValidator(_no_seconds), AfterValidator(_zoned)]
"""A date and time with its zone."""
