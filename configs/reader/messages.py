"""Puts pydantic's errors into short words: which key, what it must be, what to write."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from challenge.configs import spelling
from challenge.configs.reader import fields
from challenge.configs.reader.parser import KeyPath
from challenge.configs.reader.writer import flow


@dataclass(frozen=True)
class Complaint:
    """One thing wrong at `key`; `words` go on after the key: "must be greater than 0"."""

    key: KeyPath
    words: str
    remedy: str = ""
    value: Any = None
    """What was given, where `shows_value`."""
    shows_value: bool = True
    wants_quotes: bool = False
    """Text was meant, and YAML read a number."""


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a section",
    "model": "a section",
    "datetime": "a date and time",
}
_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def complaints(error: ValidationError, model: type[BaseModel] | None = None) -> list[Complaint]:
    """What pydantic found. What several members of a union say of one value is put together.

    Args:
        model: the model that was validated; where left out, the one that has the error's title.
    """
    root = model or fields.named(error.title)
    found: dict[tuple[KeyPath, bool], Complaint] = {}
    for each in error.errors(include_url=False):
        new = _complaint(each, fields.locate(root, each["loc"]), root)
        old = found.setdefault((new.key, new.shows_value), new)
        if new.words not in old.words:
            words = f"{old.words} or {new.words.removeprefix('must be ')}"
            remedy = old.remedy or new.remedy
            found[new.key, new.shows_value] = replace(old, words=words, remedy=remedy)
    return list(found.values())


def _complaint(error: Any, spot: fields.Spot, root: type[BaseModel] | None) -> Complaint:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    family = kind.partition("_")[0]
    if kind == "extra_forbidden":
        return _unknown(spot, root)
    if kind == "missing" and isinstance(spot.key[-1], int):
        return Complaint(spot.key[:-1], "has too few values", value=value)
    if kind == "missing":
        return Complaint(spot.key, "is missing", _example(spot), shows_value=False)
    if kind == "refusal":
        return Complaint(spot.key, context["cause"], context["remedy"], value)
    if kind == "literal_error":
        return _choice(spot.key, context["expected"], value)
    if kind == "union_tag_invalid":
        name = _discriminator(context)
        return _choice((*spot.key, name), context["expected_tags"], value[name])
    if kind == "union_tag_not_found" and isinstance(value, dict):
        words = [fields.tags(each)[0] for each in fields.members_of(spot.kind)]
        remedy = f"it is one of {_listed(words)}" if words else ""
        return Complaint(
            (*spot.key, _discriminator(context)), "is missing", remedy, shows_value=False
        )
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        shown = f"{bound:g}" if isinstance(bound, float) else str(bound)
        return Complaint(spot.key, f"must be {_BOUNDS[kind]} {shown}", value=value)
    if kind == "too_long":
        return Complaint(spot.key, f"must have {context['max_length']} values", value=value)
    if family in ("model", "dict") or kind == "union_tag_not_found":
        return _section(spot, value)
    if family in _KINDS and kind.endswith(("_type", "_parsing", "_size", "_float", "_invalid")):
        quotes = family == "string" and isinstance(value, int | float)
        return Complaint(
            spot.key, f"must be {_KINDS[family]}", _written_as(family, value), value, True, quotes
        )
    said = re.sub(r"^[A-Z]\w+ should ", "must ", str(context.get("error", error["msg"])))
    joint = "" if re.match(r"(must|may|can|needs?|has|is|does) ", said) else "is refused: "
    return Complaint(spot.key, joint + said.rstrip("."), value=value)


def _unknown(spot: fields.Spot, root: type[BaseModel] | None) -> Complaint:
    name = str(spot.key[-1])
    known = list(spot.section.model_fields) if spot.section else []
    question = spelling.did_you_mean(name, known)
    words = "is not a known key"
    if re.match(r"\w+:\S", name):
        remedy = "put a space after the `:`"
    elif re.fullmatch(r"[0-9]+", name):
        remedy = "a decimal number has a point, no comma"
    elif question:
        remedy = question
    elif any(name in each.model_fields for each in spot.siblings):
        words = f"does not go with `{spot.tag}`"
        section = ".".join(map(str, spot.key[:-1]))
        remedy = f"take it out, or replace the whole section, `{section}={{...}}`"
    else:
        remedy = f"known here: {_listed(known)}" if known else ""
        elsewhere = list(dict.fromkeys(fields.keys_named(root, name))) if root else []
        if elsewhere:
            remedy += f"; elsewhere: {_listed(elsewhere[:3])}"
    return Complaint(spot.key, words, remedy, shows_value=False)


def _choice(key: KeyPath, expected: str, value: Any) -> Complaint:
    """`expected` is pydantic's list of words, such as "'a', 'b' or 'c'"."""
    words = re.findall(r"'([^']*)'", expected) or re.split(r", | or ", expected)
    remedy = spelling.did_you_mean(str(value).lower(), words)
    *most, last = [f"`{word}`" for word in words]
    either = f"{', '.join(most)} or {last}" if most else last
    return Complaint(key, f"must be {either}", remedy, value)


def _section(spot: fields.Spot, value: Any) -> Complaint:
    kind = fields.bare(spot.kind)
    keys = f"its keys are {_listed(list(kind.model_fields))}" if fields.is_model(kind) else ""
    if value is None:
        remedy = _example(spot) or keys or "give its keys or take it out"
        return Complaint(spot.key, "has nothing in it", remedy, shows_value=False)
    if isinstance(value, str) and re.match(r"\w+:\S", value):
        return Complaint(spot.key, "must be a section", "put a space after the `:`", value)
    return Complaint(spot.key, "must be a section", _example(spot) or keys, value)


def _written_as(family: str, value: Any) -> str:
    if family == "datetime":
        return "for example 2026-12-04T17:00:00Z"
    if family in ("int", "float") and isinstance(value, str):
        if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", value):
            return f"write a point, {value.replace(',', '.')}"
        if re.search(r"[0-9)] *[-+*/%^(]|\w\(", value):
            return "formulas are not computed, write the number"
    return ""


def _example(spot: fields.Spot) -> str:
    examples = spot.field.examples if spot.field else None
    return f"for example `{spot.key[-1]}: {flow(examples[0])}`" if examples else ""


def _discriminator(context: dict[str, Any]) -> str:
    """The key that decides between the members of a union; `kind` where a function decides."""
    name = str(context["discriminator"])
    return "kind" if name.endswith("()") else name.strip("'")


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
