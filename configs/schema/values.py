"""The kinds of value the schema is made of, with what they refuse and what to write instead."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
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


Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}),
]
"""A name that becomes a folder: lower-case letters, digits, `_` and `-`, at most 63."""


def _level(sigma: float) -> float:
    if sigma <= 0:
        raise refusal("must be greater than 0", "for nearly noise-free data write 0.001")
    if sigma > 1:
        scaled = f", {sigma:g}/255 is {sigma / 255:.3g}" if sigma <= 255 else ""
        raise refusal("must be at most 1", f"it is in units of the image range [0, 1]{scaled}")
    return sigma


def _lowest(sigma: float) -> float:
    return sigma if sigma == 0 else _level(sigma)


def _gain(gain: float) -> float:
    if gain <= 0:
        raise refusal("must be greater than 0", "1 / gain photons make a white pixel")
    if gain < 1e-9:
        raise refusal("must be at least 1e-9", "so many photons are noise-free data")
    if gain > 1:
        raise refusal("must be at most 1", "1 / gain photons make a white pixel")
    return gain


def _share(keep: float) -> float:
    if not 0 < keep <= 1:
        per_cent = f", {keep:g} % is {keep / 100:g}" if 1 < keep <= 100 else ""
        raise refusal("must be above 0 and at most 1", f"a share{per_cent}")
    return keep


def _ordered(levels: tuple[float, float]) -> tuple[float, float]:
    if levels[0] > levels[1]:
        raise refusal("must be written [low, high]")
    return levels


_UNIT = WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
"""What an editor may know of a value in (0, 1]; the validators say why."""

Level = Annotated[Number, AfterValidator(_level), _UNIT]
"""A standard deviation of noise, in units of the image range [0, 1]."""

Levels = Annotated[
    tuple[
        Annotated[
            Number,
            AfterValidator(_lowest),
            WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
        ],
        Level,
    ],
    AfterValidator(_ordered),
]
"""A range [low, high] of noise levels; it may begin at 0."""

Gain = Annotated[Number, AfterValidator(_gain), _UNIT]
"""Of Poisson noise, in units of the image range [0, 1]: what one photon adds."""

Gains = Annotated[tuple[Gain, Gain], AfterValidator(_ordered)]
"""A range [low, high] of gains."""

Share = Annotated[Number, AfterValidator(_share), _UNIT]
"""A share of the pixels, in (0, 1]."""

Shares = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
"""A range [low, high] of shares."""


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
