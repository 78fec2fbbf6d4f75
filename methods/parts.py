"""A knob whose value is another method, such as the denoiser of a plug-and-play method.

    def __init__(self, *, denoiser: Denoiser, ...) -> None

In a config its value is a name of the table, a `method:` section of its own, or a run or an entry
whose weights are taken along. The constructor gets the method that was built of it, and holds it as
a module, so that its weights are among its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from challenge.configs.schema.values import refusal
from challenge.methods.contract import Method

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Part:
    """What an annotated knob takes."""

    operator: str | None
    """The operator family that the method must take; None: it takes the challenge's own, and may
    have such knobs itself."""
    default: str | None
    """The method's name in the table where the config gives none; None: there is none then."""
    words: str
    """What it is, for a person."""


Denoiser = Annotated[
    Method,
    Part("identity", "bm3d", "a denoiser: a name, a section, a run, an entry, published weights"),
]
"""A method that takes the identity as its operator; see `plug_and_play.denoisers.denoise`."""
Potential = Annotated[Method, Part("identity", None, "a denoiser with a potential")] | None
"""A denoiser that is a gradient step; see `plug_and_play.denoisers.HasPotential`."""
Start = Annotated[Method, Part("identity", None, "a denoiser: a run, an entry or a section")] | None
"""A denoiser that networks begin as."""

Wrapped = Annotated[Method, Part(None, "unrolled", "a method: a run, an entry or a section")]
"""A method that another one calls, each time on the measurement of the challenge."""


def part_of(annotation: Any) -> Part | None:
    """What a knob's annotation says of its method; None where it is no such knob."""
    for each in (annotation, *get_args(annotation)):
        for mark in getattr(each, "__metadata__", ()):
            if isinstance(mark, Part):
                return mark
    return None


def parts_of(model: type[BaseModel]) -> dict[str, Part]:
    """The knobs of a method's model that are methods, by name."""
    return {
        name: mark
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Part)
    }


def section(value: Any) -> Any:
    """The `method:` section that a value stands for: a word is a name without knobs.

    Raises:
        ValueError: it is neither.
    """
    if value is None or isinstance(value, Mapping):
        if value is not None and not isinstance(value.get("name"), str):
            raise refusal("has no `name`", "name a method, such as `{name: bm3d}`, or a run")
        return value
    if not isinstance(value, str):
        raise refusal("must be a name, a path or a section", "such as `bm3d` or a run's folder")
    return {"name": value}
