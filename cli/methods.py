"""`challenge methods`: what exists, and one method's knobs, defaults and paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from challenge.methods.contract import Method
    from challenge.methods.knobs import Knob


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A method's name, or a file `my_team/method.py`.",
            autocompletion=completion.methods,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods, or show one with all its knobs.

    One method's page: equation, paper, knobs, kinds, defaults.

    Example: challenge methods tv
    """
    if name is None:
        _list(as_json)
        return

    import inspect
    import os

    from challenge.cli.shared.console import show, show_block, show_json, table, wrapped
    from challenge.cli.shared.kinds import expect
    from challenge.methods import registry
    from challenge.methods.knobs import knobs

    if Path(name).exists() and (os.sep in name or Path(name).suffix):
        expect([Path(name)], "python")
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
                        "meaning": knob.meaning,
                    }
                    for knob in found
                ],
                "operators": cls.operators and list(cls.operators),
                "train": list(_reads(cls)),
                "variants": _variants(cls),
            }
        )
        return
    show_block(_page(page) + "\n")
    for knob in found:
        show_block(_described(knob))
    for varied, choices in _variants(cls).items():
        names = [name for name in choices[0] if name != varied]
        columns = [varied, *(name.replace("_", " ") for name in names)]
        cells = [(str(each[varied]), *(_number(each[name]) for name in names)) for each in choices]
        table(columns, cells, left=columns[:1])
    show(f"Operators: {', '.join(cls.operators) if cls.operators else 'all of ' + _families()}")
    usual = _reads(cls)
    reads = ", ".join(f"train.{key}" for key in usual)
    show_block(wrapped(f"Reads: {reads}" if reads else "Learns without settings, or not at all."))
    others = ", ".join(f"train.{key}" for key in cls.reads if key not in usual)
    if others:
        show_block(wrapped(f"With other knobs it also reads: {others}"))
    if cls.reads:
        show("What they mean: challenge config train")


def _reads(cls: type[Method]) -> Sequence[str]:
    """The keys of `train:` that the method reads with its default knobs."""
    from pydantic import ValidationError

    from challenge.methods.knobs import model

    try:
        return cls.reads_with(dict(model(cls)()))
    except ValidationError:  # a knob that must be given
        return cls.reads


def _list(as_json: bool) -> None:
    """Every method with the first line of its page, chapter by chapter."""
    from challenge.cli.shared.console import show, show_block, show_json, wrapped
    from challenge.methods import from_source, registry

    chapters = registry.chapters()
    if as_json:
        show_json(
            [
                {
                    "name": each,
                    "chapter": chapter,
                    "summary": from_source.summary(each),
                    "operators": from_source.operators(each),
                }
                for chapter, names in chapters.items()
                for each in names
            ]
        )
        return
    longest = max(len(each) for names in chapters.values() for each in names)
    for chapter, names in chapters.items():
        show(chapter)
        show("")
        for each in names:
            first = f"  {each.ljust(longest)}  "
            takes = from_source.operators(each)
            only = f" Takes {' and '.join(takes)} only." if takes else ""
            show_block(wrapped(from_source.summary(each) + only, first, " " * len(first)))
        show("")
    rest = f"Where nothing else is said, a method takes every operator: {_families()}."
    show_block(wrapped(rest))
    show("One method's knobs: challenge methods NAME")


def _families() -> str:
    from challenge.data.physics.families import FAMILIES

    return ", ".join(FAMILIES)


def _described(knob: Knob) -> str:
    """A knob's name, kind and default on one line, and below what it does."""
    default = "must be given" if knob.required else f"default {_plain(knob.default)}"
    from challenge.cli.shared.console import wrapped

    head = wrapped(f"method.{knob.name}: {knob.kind}, {default}", "", " " * 8)
    return f"{head}\n{wrapped(knob.meaning, ' ' * 4, ' ' * 4)}" if knob.meaning else head


def _page(docstring: str) -> str:
    """A docstring with its prose wrapped to the page; equations, which are indented, stay."""
    from challenge.cli.shared.console import wrapped

    parts = docstring.split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else wrapped(each) for each in parts)


def _variants(cls: type[Method]) -> dict[str, list[dict[str, Any]]]:
    """What the choices of a method's variants cost, each with its default knobs."""
    from challenge.methods.knobs import model, nested

    def made(knob: str, choice: str) -> Method:
        values = model(cls).model_validate(nested(knob, choice))
        return cls(**dict(values))

    return {
        knob: [{knob: choice, **made(knob, choice).facts()} for choice in choices]
        for knob, choices in cls.variants.items()
    }


def _number(value: int | None) -> str:
    return "more than 1,000" if value is None else f"{value:,}"


def _plain(value: object) -> str:
    """A default as the YAML file would say it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
