"""The constructor of a method is the schema of its `method:` section."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationInfo, create_model, field_validator

from challenge.configs.errors import UserError
from challenge.configs.schema.values import refusal

if TYPE_CHECKING:
    from challenge.methods.contract import Method


@dataclass(frozen=True)
class Knob:
    """One parameter of a method, as its constructor declares it."""

    name: str
    kind: str
    """The annotation in words, bounds included: `float > 0`."""
    default: Any
    """`inspect.Parameter.empty` when the knob must be given."""

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@cache
def model(method: type[Method]) -> type[BaseModel]:
    """The pydantic model of the knobs of `method`; unknown keys are refused.

    Raises:
        UserError: a parameter is positional, not annotated, or is `*args` or `**kwargs`.
    """
    fields: dict[str, Any] = {}
    hints = get_type_hints(method.__init__, include_extras=True)
    for name, parameter in inspect.signature(method).parameters.items():
        place = f"{method.__module__.rpartition('.')[2]}.{method.__qualname__}"
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise UserError.of(
                place,
                f"the constructor's `{parameter}` is not a keyword-only parameter",
                "write `def __init__(self, *, knob: type = default)`: every knob by name",
            )
        if name not in hints:
            raise UserError.of(
                place,
                f"the constructor's `{name}` has no annotation",
                f"write `{name}: type = default`",
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    built: type[BaseModel] = create_model(
        method.__name__,
        __config__=ConfigDict(extra="forbid", allow_inf_nan=False),
        __validators__={"no_boolean": _no_boolean(hints)},
        **fields,
    )
    return built


def _no_boolean(hints: dict[str, Any]) -> Any:
    """Refuse `true` for a number: Python would count it as 1."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and "bool" not in str(hints[info.field_name or ""]):
            raise refusal("must not be true or false")
        return value

    return field_validator("*", mode="before")(check)


def knobs(method: type[Method]) -> list[Knob]:
    """The knobs of `method`, in the order of its constructor."""
    hints = get_type_hints(method.__init__, include_extras=True)
    return [
        Knob(name, _words(hints[name]), parameter.default)
        for name, parameter in inspect.signature(method).parameters.items()
    ]


_SIGNS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("multiple_of", "multiple of"))


def _words(annotation: Any) -> str:
    """An annotation as a person would say it: `Annotated[float, Gt(0)]` is `float > 0`."""
    if hasattr(annotation, "__metadata__"):
        inner, *marks = get_args(annotation)
        bounds = [
            f"{sign} {getattr(part, attribute)}"
            for mark in marks
            for part in getattr(mark, "metadata", [mark])
            for attribute, sign in _SIGNS
            if getattr(part, attribute, None) is not None
        ]
        return " ".join([_words(inner), " and ".join(bounds)]).strip()
    if annotation is type(None):
        return "null"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return getattr(annotation, "__name__", str(annotation))
    if str(origin).endswith("Literal"):
        return " | ".join(map(str, arguments))
    if str(origin) in ("typing.Union", "<class 'types.UnionType'>"):
        return " or ".join(map(_words, arguments))
    return f"{origin.__name__} of {', '.join(_words(a) for a in arguments if a is not ...)}"
