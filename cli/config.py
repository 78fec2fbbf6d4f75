"""`challenge config`: what may stand in a YAML file, with every default and its meaning."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from challenge.configs.reference.parts import Part

TITLES = {
    "challenge": "A challenge, for `challenge prepare`",
    "entry": "An entry, for `challenge train`",
}
PAGE = """# Reference

Every key of the two kinds of YAML file, and every knob of the methods. On the command line each of
them is `key=value` behind the file, such as `train.lr=1e-3`. `challenge config train` prints a
section as YAML, `challenge methods tv` shows one method. Made by `challenge config --markdown`: the
sentences stand beside the fields in `configs/schema`, those of the knobs in the constructors of the
methods.
"""


def config(
    section: Annotated[
        str | None,
        typer.Argument(
            help="`challenge`, `entry`, or a section such as `operator.kernel`.",
            autocompletion=completion.sections,
        ),
    ] = None,
    as_json: JsonOption = False,
    for_editors: Annotated[
        bool,
        typer.Option(
            "--json-schema", help="The JSON schema of a `challenge` or an `entry`, for editors."
        ),
    ] = False,
    page: Annotated[
        bool, typer.Option("--markdown", help="Everything as one page, with the methods' knobs.")
    ] = False,
) -> None:
    """Show what a YAML file may say, with all defaults.

    A section is printed as YAML that can be pasted: every key with its default, what it means
    and which values it takes.

    Example: challenge config train
    """
    from challenge.cli.shared.console import show_block, show_json, show_page, width
    from challenge.configs.errors import UserError
    from challenge.configs.reference import texts
    from challenge.configs.reference.parts import FILES, json_schema, parts

    if sum((as_json, for_editors, page)) > 1 or (page and section is not None):
        cause = "cannot stand beside another option or a section"
        raise UserError.of("--markdown" if page else "--json", cause, "give one of them")
    if for_editors:
        show_json(_schema(section))
        return
    files = {file: parts(json_schema(model)) for file, model in FILES.items()}
    if page:
        show_page(_page(files))
        return
    found = [each for all_of in files.values() for each in all_of]
    if section is None:
        if as_json:
            show_json({file: _json(all_of) for file, all_of in files.items()})
        else:
            _list(files)
        return
    if section in files:
        found, place = files[section], ""
    else:
        place = _place(section, found)
    if as_json:
        show_json(_json([each for each in found if each.place.startswith(place)]))
    else:
        show_block(texts.yaml(found, place, min(texts.WIDTH, width())).rstrip())


def _place(section: str, found: list[Part]) -> str:
    """The place of the section that was asked for, or of the one that a key stands in."""
    from challenge.configs import spelling
    from challenge.configs.errors import UserError

    places = list(dict.fromkeys(each.place for each in found if each.place))
    if section in places:
        return section
    above, _, key = section.rpartition(".")
    if above and any(each.place == above and key in _names(each) for each in found):
        return above
    if section.partition(".")[0] == "method":
        raise UserError.of(
            f"`{section}`",
            "is the method's own",
            "`challenge methods` lists the methods, `challenge methods tv` the knobs of one",
        )
    keys = {key: each.place for each in found if each.place for key in _names(each)}
    listed = ", ".join(["challenge", "entry", *places])
    known = [*places, *(f"{place}.{key}" for key, place in keys.items()), "challenge", "entry"]
    remedy = (
        f"did you mean `{keys[section]}`?"
        if section in keys
        else spelling.did_you_mean(section, known, f"there are {listed}")
    )
    raise UserError.of(f"`{section}`", "is no section of a file", remedy)


def _names(part: Part) -> list[str]:
    return [key.name for key in part.keys]


def _schema(section: str | None) -> dict[str, Any]:
    from challenge.configs.errors import UserError
    from challenge.configs.reference.parts import FILES, json_schema

    if section == "challenge":
        return json_schema(FILES["challenge"])
    if section == "entry":
        from challenge.methods.reference import entry_schema

        return entry_schema()
    raise UserError.of(
        "--json-schema", "is for a kind of file", "say `challenge config entry --json-schema`"
    )


def _page(files: dict[str, list[Part]]) -> str:
    from challenge.configs.reference import texts
    from challenge.methods import reference

    body = [f"## {TITLES[file]}\n\n{texts.markdown(found)}" for file, found in files.items()]
    return "\n".join([PAGE, *body, f"## Methods, for `method:`\n\n{reference.markdown()}"])


def _list(files: dict[str, list[Part]]) -> None:
    """Every section with what it is for."""
    from challenge.cli.shared.console import show, show_block, width

    for file, found in files.items():
        show(f"{TITLES[file]}: challenge config {file}")
        show("")
        meanings: dict[str, str] = {}
        for part in found:
            for key in part.keys:
                if key.section:
                    meanings.setdefault(key.section, key.meaning)
        longest = max(map(len, meanings))
        for place, meaning in meanings.items():
            first = f"  {place.ljust(longest)}  "
            show_block(
                textwrap.fill(
                    meaning,
                    width(),
                    initial_indent=first,
                    subsequent_indent=" " * len(first),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
        show("")
    show("One section with its defaults: challenge config SECTION")
    show("The knobs of a method: challenge methods NAME")


def _json(found: list[Part]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [
        {
            "place": part.place,
            "meaning": part.meaning,
            **({part.chooser: part.choice} if part.choice else {}),
            "keys": [
                {name: value for name, value in asdict(key).items() if name != "choices"}
                for key in part.keys
            ],
        }
        for part in found
    ]
