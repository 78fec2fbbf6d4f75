"""What the source of a method says of it, read without importing it: `--help` stays quick."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from challenge.methods import registry, syntax

COLOURS = {1: "grey", 2: "complex", 3: "colour"}
"""Channels of images, in words."""


def summary(name: str) -> str:
    """The first line of a method's docstring, read from its source without importing it."""
    node = _class(name)
    return (ast.get_docstring(node) or "").partition("\n")[0] if node else ""


def operators(name: str) -> tuple[str, ...] | None:
    """The operator families that a method takes, None for all; as `summary`, without an import."""
    value = _written(name, "operators")
    return None if value is None else tuple(value)


def channels(section: Mapping[str, Any]) -> int | None:
    """The channels that a method of the table is for with its knobs; None where it takes any.

    As `summary`, without an import: 3 for colour, 2 for complex, 1 for grey images.
    """
    defaults = _defaults(str(section.get("name")))
    theta = section.get("theta", defaults.get("theta", "filters"))
    if "channels" not in defaults or theta != "filters":
        return None  # of bilevel the filters have channels, a weight has none
    found = section.get("channels", defaults["channels"])
    return found if found in COLOURS else None


def fits(channels: int, images: int, takes_grey: bool) -> bool:
    """Whether a method takes images of so many channels.

    Args:
        channels: that it is for.
        images: their channels.
        takes_grey: see `takes_grey`.
    """
    in_colours = (COLOURS[channels], COLOURS[images]) == ("colour", "grey")
    return channels == images or (takes_grey and in_colours)


def takes_grey(name: str) -> bool:
    """Whether a method with networks for colours takes grey images too; as `summary`."""
    return bool(_written(name, "takes_grey"))


def _written(name: str, attribute: str) -> Any:
    """The value of an attribute of a method's class; None where it is not written out there."""
    node = _class(name)
    for each in node.body if node else ():
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            try:
                return ast.literal_eval(each.value)  # type: ignore[attr-defined]
            except ValueError:  # only an import would tell
                return None
    return None


def _defaults(name: str) -> dict[str, Any]:
    """The knobs of a method whose defaults are written out in its constructor."""
    node, found = _class(name), {}
    for each in node.body if node else ():
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            for knob, value in zip(each.args.kwonlyargs, each.args.kw_defaults, strict=True):
                if isinstance(value, ast.Constant):
                    found[knob.arg] = value.value
    return found


def _class(name: str) -> ast.ClassDef | None:
    target = registry.METHODS.get(name) or registry.installed()[name].value
    module, _, attribute = target.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    for node in syntax.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return node
    return None
