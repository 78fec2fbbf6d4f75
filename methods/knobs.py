"""The constructor of a method is the schema of its `method:` section.

A parameter that is a pydantic model is a section inside that section, such as `net:`. What a knob
does is said in the constructor's docstring, under `Args:`, or below the field of the model.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PydanticUserError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
)

from challenge.configs.errors import UserError
from challenge.configs.schema.values import refusal
from challenge.methods.parts import Part, part_of, section

if TYPE_CHECKING:
    from challenge.methods.contract import Method


@dataclass(frozen=True)
class Knob:
    """One setting of a method, as its constructor declares it."""

    name: str
    """With its section, if it stands in one: `net.width`."""
    kind: str
    """The annotation in words, bounds included: `float > 0`."""
    default: Any
    """`inspect.Parameter.empty` when the knob must be given."""
    meaning: str
    """A sentence, empty where the method does not say."""

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@cache
def model(method: type[Method]) -> type[BaseModel]:
    """The pydantic model of the knobs of `method`; unknown keys are refused.

    Raises:
        UserError: a parameter cannot be given by its name, or its annotation is not known here.
    """
    fields: dict[str, Any] = {}
    hints = _hints(method)
    meanings = _arguments(inspect.getdoc(method.__init__) or "")
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise UserError.of(
                place(method),
                f"the constructor's `{parameter}` is not a keyword-only parameter",
                "write `def __init__(self, *, knob: type = default)`: every knob by name",
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        if mark := part_of(hints[name]):
            fields[name] = _part(mark, meanings.get(name))
        else:
            fields[name] = (hints[name], Field(default, description=meanings.get(name)))
    try:
        built: type[BaseModel] = create_model(
            method.__name__,
            __config__=ConfigDict(extra="forbid", allow_inf_nan=False),
            __validators__={"no_boolean": _no_boolean(hints)},
            **fields,
        )
    except (PydanticUserError, NameError) as error:
        said = str(error).partition("\n")[0]
        remedy = "a knob is a number, a word, true or false, a list of these, or a pydantic model"
        raise UserError.of(
            place(method), f"a knob cannot be read from YAML: {said}", remedy
        ) from None
    return built


def _part(mark: Part, meaning: str | None) -> Any:
    """The field of a knob that is a method: its section, which the registry builds."""
    value = dict[str, Any] | None if mark.default is None else dict[str, Any]
    default = None if mark.default is None else {"name": mark.default}
    kinds: list[dict[str, Any]] = [
        {"type": "string"},
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    ]
    if mark.default is None:
        kinds.append({"type": "null"})
    schema = WithJsonSchema({"anyOf": kinds})
    return Annotated[value, mark, BeforeValidator(section), schema], Field(
        default, description=meaning
    )


def place(method: type[Method]) -> str:
    """A class with its module: `method.Mine`."""
    return f"{method.__module__.rpartition('.')[2]}.{method.__qualname__}"


def _hints(method: type[Method]) -> dict[str, Any]:
    """The annotation of every knob; where there is none, that of its default.

    Raises:
        UserError: an annotation names something that is not there when the program runs.
    """
    try:
        found = get_type_hints(method.__init__, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise UserError.of(
            place(method),
            f"an annotation of its constructor cannot be read ({error})",
            "import what it names outside of `if TYPE_CHECKING:`",
        ) from None
    for name, parameter in inspect.signature(method).parameters.items():
        if name not in found:
            found[name] = _PLAIN.get(type(parameter.default), Any)
    return found


_PLAIN: dict[type, Any] = {bool: bool, int: int | float, float: float, str: str}
"""What a knob without an annotation may be, by the type of its default."""


def _no_boolean(hints: dict[str, Any]) -> Any:
    """Refuse `true` for a number: Python would count it as 1."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and "bool" not in str(hints[info.field_name or ""]):
            raise refusal("must not be true or false")
        return value

    return field_validator("*", mode="before")(check)


def knobs(method: type[Method]) -> list[Knob]:
    """The knobs of `method`, in the order of its constructor; a section's one after the other."""
    hints = _hints(method)
    meanings = _arguments(inspect.getdoc(method.__init__) or "")
    found = []
    for name, parameter in inspect.signature(method).parameters.items():
        hint, default = hints[name], parameter.default
        if mark := part_of(hint):
            found.append(Knob(name, mark.words, mark.default, meanings.get(name, "")))
            continue
        if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
            found.append(Knob(name, _words(hint), default, meanings.get(name, "")))
            continue
        inner = get_type_hints(hint, include_extras=True)
        for key, field in hint.model_fields.items():
            stated = getattr(default, key, inspect.Parameter.empty)
            meaning = " ".join((field.description or "").split())
            found.append(Knob(f"{name}.{key}", _words(inner[key]), stated, meaning))
    return found


def nested(name: str, value: Any) -> dict[str, Any]:
    """The part of a `method:` section that sets one knob: `net.width` is {net: {width: value}}."""
    for part in reversed(name.split(".")):
        value = {part: value}
    section: dict[str, Any] = value
    return section


def _arguments(docstring: str) -> dict[str, str]:
    """What a cleaned docstring says of each argument under `Args:`, as a sentence."""
    found: dict[str, str] = {}
    name, reading = "", False
    for line in docstring.splitlines():
        if re.fullmatch(r"\w[\w ]*:", line):
            reading = line == "Args:"
        elif reading and (begin := re.fullmatch(r"    (\w+)(?: \(.*?\))?: (.*)", line)):
            name = begin[1]
            found[name] = begin[2][:1].upper() + begin[2][1:]
        elif reading and name and line.startswith("     "):
            found[name] += " " + line.strip()
    return found


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
    if annotation is Any:
        return "anything"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return getattr(annotation, "__name__", str(annotation))
    if str(origin).endswith("Literal"):
        return " | ".join(map(str, arguments))
    if str(origin) in ("typing.Union", "<class 'types.UnionType'>"):
        return " or ".join(map(_words, arguments))
    return f"{origin.__name__} of {', '.join(_words(a) for a in arguments if a is not ...)}"
