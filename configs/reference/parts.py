"""What may stand in a file: every key with its kind, default and meaning, from the schema itself.

The meanings are the sentences beside the fields in `configs/schema`; a page, a YAML text and a
schema for editors are made of the same JSON schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.entry import EntryConfig

FILES: dict[str, type[BaseModel]] = {"challenge": ChallengeConfig, "entry": EntryConfig}
"""The kinds of file, and the schema of each."""

Schema = dict[str, Any]

_STANDARD = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
"""Bounds that pydantic leaves in its own words behind a validator of ours."""
_SIGNS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_ENDLESS = 2**62
"""A bound above it is the computer's, which nobody meets."""
_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "null": "null"}


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    kind: str
    """In words, bounds included: `float > 0`; empty for a section."""
    required: bool
    value: Any
    """The default, or an example where it must be given."""
    meaning: str
    section: str = ""
    """The place of the section that its value is; empty for a plain value."""
    choices: int = 0
    """How many kinds of section its value may be."""


@dataclass(frozen=True)
class Part:
    """A section of a file, or one kind of it."""

    place: str
    """`operator.kernel`; empty for the file itself."""
    chooser: str
    """The key whose value chooses this kind, such as `kind`; empty where there are no kinds."""
    choice: str
    chosen: bool
    """Whether this kind is meant where the file names none."""
    meaning: str
    keys: tuple[Key, ...]
    above: tuple[tuple[str, str], ...] = ()
    """Of every section above that must be of a certain kind: its place and `key: value`."""


def json_schema(model: type[BaseModel]) -> Schema:
    """The JSON schema of a file, with bounds in that standard's words."""
    found = cleaned(model.model_json_schema())
    if model is EntryConfig:
        # The loader gives the file's stem where there is none.
        found["required"].remove("name")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def parts(schema: Schema) -> list[Part]:
    """Every section of a file, in the order of the schema; a kind that two sections share once."""
    found: dict[tuple[str, str], Part] = {}
    for part in _visit(schema, schema, "", ()):
        found.setdefault((part.place, part.choice), part)
    return list(found.values())


def kind(schema: Schema) -> str:
    """What a value may be, as a person says it."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if members := _members(schema):
        plain = [kind(each) for each in members if "$ref" not in each]
        words = [*plain, *(["section"] if len(plain) < len(members) else [])]
        return ", or ".join(words) if "[" in " ".join(words) else " or ".join(words)
    if "prefixItems" in schema:
        return f"[{', '.join(map(kind, schema['prefixItems']))}]"
    if schema.get("type") == "array":
        items = schema["items"]
        return f"list of {'sections' if _members(items) else kind(items)}"
    if schema.get("format") == "date-time":
        return "date and time with its zone"
    if schema.get("type") == "object" or "$ref" in schema:
        return "section"
    word = "name" if "pattern" in schema else _TYPES[schema["type"]]
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in _SIGNS.items()
        if key in schema and schema[key] < _ENDLESS
    ]
    return " ".join([word, " and ".join(bounds)]).strip()


def _visit(
    root: Schema, section: Schema, place: str, above: tuple[tuple[str, str], ...]
) -> Iterator[Part]:
    """The part of a section, then those below it."""
    required = section.get("required", ())
    chooser, choice = "", ""
    keys, below = list[Key](), list[Iterator[Part]]()
    for name, value in section["properties"].items():
        where = f"{place}.{name}".lstrip(".")
        if "const" in value:
            chooser, choice = name, str(value["const"])
            continue
        sections = [each for each in _resolved(root, value) if "properties" in each]
        keys.append(_key(name, value, name in required, where, sections))
        here = (*above, (place, f"{chooser}: {choice}")) if choice else above
        below += [_visit(root, each, where, here) for each in sections]
    meaning = _sentence(section)
    chosen = bool(choice) and chooser not in required
    yield Part(place, chooser, choice, chosen, meaning, tuple(keys), above)
    for each in below:
        yield from each


def _key(name: str, value: Schema, required: bool, where: str, sections: list[Schema]) -> Key:
    examples = value.get("examples", [None])
    shown = examples[0] if required else value.get("default", examples[0])
    meaning = _sentence(value) or (_sentence(sections[0]) if len(sections) == 1 else "")
    below = where if sections else ""
    return Key(name, kind(value), required, shown, meaning, below, len(sections))


def _members(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return found


def _resolved(root: Schema, value: Schema) -> list[Schema]:
    """The value's schema, or those that it may be, with references followed."""
    return [
        root["$defs"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for each in _members(value) or [value]
    ]


def _sentence(schema: Schema) -> str:
    return " ".join(str(schema.get("description", "")).split())


def cleaned(schema: Schema) -> Schema:
    """pydantic's schema without what no reader needs, and with standard words for bounds."""
    found: Schema = _cleaned(schema)
    return found


def _cleaned(value: Any) -> Any:
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = ("title", "discriminator")
    return {
        _STANDARD.get(key, key): {name: _cleaned(each) for name, each in inner.items()}
        if key in ("properties", "$defs")
        else _cleaned(inner)
        for key, inner in value.items()
        if key not in left_out
    }
