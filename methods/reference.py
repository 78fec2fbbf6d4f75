"""What a `method:` section may say: the knobs of every method, for a page and for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from challenge.configs.reference.parts import FILES, cleaned, json_schema
from challenge.configs.reference.texts import rows_as_markdown
from challenge.methods import from_source, registry
from challenge.methods.knobs import knobs, model


def entry_schema() -> dict[str, Any]:
    """The JSON schema of an entry's config with the knobs of every method of the name table.

    A team's own file may have any knobs.
    """
    schema = json_schema(FILES["entry"])
    branches = []
    for name in registry.METHODS:
        knobs_of = cleaned(model(registry.resolve(name, Path())).model_json_schema())
        schema["$defs"] |= knobs_of.get("$defs", {})
        branches.append(
            {
                "if": {"properties": {"name": {"const": name}}},
                "then": {
                    "properties": {"name": {}, **knobs_of["properties"]},
                    "required": knobs_of.get("required", []),
                    "additionalProperties": False,
                },
            }
        )
    listed = ", ".join(registry.METHODS)
    method = schema["properties"]["method"]
    method["properties"] = {
        "name": {"type": "string", "description": f"{listed}, or a file `path/method.py`."}
    }
    method |= {"required": ["name"], "additionalProperties": True, "allOf": branches}
    return schema


def markdown() -> str:
    """A table of knobs for every method of the name table."""
    texts = []
    for name in registry.METHODS:
        texts.append(f"### `{name}`\n\n{from_source.summary(name)}\n")
        found = [
            (f"`{each.name}`", each.kind, _default(each.required, each.default), each.meaning)
            for each in knobs(registry.resolve(name, Path()))
        ]
        texts.append(rows_as_markdown(("knob", "kind", "default", "meaning"), found))
    return "\n".join(texts)


def _default(required: bool, value: object) -> str:
    if required:
        return "must be given"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"
