"""`challenge methods`: what exists, and one method's knobs, defaults and paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from challenge.methods.contract import Method


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method's name, or a file `my_team/method.py`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods, or show one with all its knobs.

    One method's page: equation, paper, knobs, kinds, defaults.

    Example: challenge methods tv
    """
    from challenge.cli.shared.console import show, show_json, table
    from challenge.methods import registry

    if name is None:
        rows = [(each, registry.summary(each)) for each in registry.names()]
        if as_json:
            show_json([{"name": each, "summary": text} for each, text in rows])
        else:
            table(("method", "what it does"), rows, left=("method", "what it does"))
            show("One method's knobs: challenge methods NAME")
        return

    import inspect

    from challenge.methods.knobs import knobs

    cls = registry.resolve(name, Path())
    page = inspect.getdoc(cls) or ""
    found = knobs(cls)
    if as_json:
        show_json(
            {
                "name": name,
                "page": page,
                "knobs": [
                    {
                        "name": knob.name,
                        "kind": knob.kind,
                        "required": knob.required,
                        "default": None if knob.required else knob.default,
                    }
                    for knob in found
                ],
                "train": list(cls.reads),
                "variants": _variants(cls),
            }
        )
        return
    show(page + "\n")
    lines = [
        (knob.name, knob.kind, "must be given" if knob.required else _plain(knob.default))
        for knob in found
    ]
    table(("method.", "kind", "default"), lines, left=("method.", "kind", "default"))
    for knob, choices in _variants(cls).items():
        names = [name for name in choices[0] if name != knob]
        columns = [f"method.{knob}", *(name.replace("_", " ") for name in names)]
        cells = [(str(each[knob]), *(_number(each[name]) for name in names)) for each in choices]
        table(columns, cells, left=columns[:1])
    reads = ", ".join(f"train.{key}" for key in cls.reads)
    show(f"Reads: {reads}" if reads else "Learns without settings, or not at all.")


def _variants(cls: type[Method]) -> dict[str, list[dict[str, Any]]]:
    """What the choices of a method's variants cost, each with its default knobs."""
    return {
        knob: [{knob: choice, **cls(**{knob: choice}).facts()} for choice in choices]
        for knob, choices in cls.variants.items()
    }


def _number(value: int | None) -> str:
    return "more than 1,000" if value is None else f"{value:,}"


def _plain(value: object) -> str:
    """A default as the YAML file would say it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
