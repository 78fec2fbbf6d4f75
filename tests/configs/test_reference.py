"""The reference of a file's keys: complete, current, and true of what the loader takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from challenge.cli.main import app
from challenge.configs.errors import UserError
from challenge.configs.paths import names, packaged
from challenge.configs.reader.parser import parse
from challenge.configs.reference.parts import FILES, Part, json_schema, parts
from challenge.configs.reference.texts import yaml
from challenge.methods import registry
from challenge.methods.knobs import knobs
from challenge.methods.reference import entry_schema

ROOT = Path(__file__).parents[2]
BASE = {
    "challenge": {
        "name": "some",
        "images": {"source": "builtin"},
        "operator": {"kind": "identity"},
        "noise": {"sigma": 0.1},
    },
    "entry": {"challenge": "some", "name": "mine", "method": {"name": "tv"}},
}
PARTS = [(file, part) for file, model in FILES.items() for part in parts(json_schema(model))]


def id_of(value: object) -> str:
    return f"{value.place or 'file'}-{value.choice}" if isinstance(value, Part) else str(value)


def config(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["config", *arguments], catch_exceptions=False)
    return done.exit_code, done.stdout


@pytest.mark.parametrize(("file", "part"), PARTS, ids=id_of)
def test_every_section_and_key_has_a_sentence(file: str, part: Part) -> None:
    assert part.meaning.endswith(".")
    for key in part.keys:
        assert len(key.meaning.split()) > 1 and key.meaning[-1] in ".", f"{part.place}.{key.name}"


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_knob_has_a_sentence(name: str) -> None:
    page = CliRunner().invoke(app, ["methods", name]).stdout
    for knob in knobs(registry.resolve(name, Path())):
        assert len(knob.meaning.split()) > 1 and knob.meaning[-1] in ".", knob.name
        assert knob.meaning in " ".join(page.split())
        assert f"method.{knob.name}:" in page
    reads = registry.resolve(name, Path()).reads
    assert ("challenge config train" in page) == bool(reads), "where its train keys are explained"


def blocks(text: str, place: str) -> Iterator[dict[str, Any]]:
    """Every alternative of a YAML text: the first as it is, others without their `# `."""
    begin = f"# {place.partition('.')[0]}:"
    for number, block in enumerate(text.split("\n\n")):
        lines = block.splitlines()
        if number:
            lines = [line[2:] for line in lines[lines.index(begin) :]]
        tree = parse("\n".join(lines) + "\n")
        assert not tree.faults
        assert isinstance(tree.value, dict)
        yield tree.value


def only_required(tree: dict[str, Any], place: list[str], part: Part) -> dict[str, Any]:
    """The tree without the settings of one section that have a default."""
    if place:
        return tree | {place[0]: only_required(tree[place[0]], place[1:], part)}
    optional = [key.name for key in part.keys if not key.required]
    return {key: value for key, value in tree.items() if key not in optional}


@pytest.mark.parametrize(
    ("file", "place"), list(dict.fromkeys((file, part.place) for file, part in PARTS)), ids=str
)
def test_a_section_can_be_pasted(file: str, place: str) -> None:
    """Every block is what the file may say, for the loader and for editors, and states defaults."""
    model = FILES[file]
    found = parts(json_schema(model))
    here = [part for part in found if part.place == place]
    trees = list(blocks(yaml(found, place), place))
    assert len(trees) == len(here)
    for tree, part in zip(trees, here, strict=True):
        whole = BASE[file] | tree
        check = jsonschema.Draft202012Validator(json_schema(model))
        assert not list(check.iter_errors(whole))
        short = BASE[file] | only_required(tree, [*filter(None, place.split("."))], part)
        assert model.model_validate(whole) == model.model_validate(short)


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (file, path)
        for file, kind in (("challenge", "challenges"), ("entry", "methods"))
        for path in names(kind).values()
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_editors_accept_what_the_toolkit_ships_and_refuse_a_typo_anywhere(file, path) -> None:
    text = path.read_text()
    assert text.startswith(f"# yaml-language-server: $schema=../{file}.schema.json\n")
    check = jsonschema.Draft202012Validator(schema_of(file))
    tree = parse(text).value
    assert not list(check.iter_errors(tree))
    for place, broken in with_typos(tree):
        assert list(check.iter_errors(broken)), place


def schema_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((packaged() / f"{file}.schema.json").read_text())
    return found


def with_typos(tree: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The tree with one key misspelled: each of them in turn."""
    for key, value in tree.items():
        yield f"{place}{key}", {k + "x" * (k == key): v for k, v in tree.items()}
        if isinstance(value, dict):
            for where, broken in with_typos(value, f"{place}{key}."):
                yield where, tree | {key: broken}


def test_the_schema_for_editors_is_current() -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of("challenge"))
    assert schema_of("challenge") == json_schema(FILES["challenge"]), REMEDY.format("challenge")
    jsonschema.Draft202012Validator.check_schema(schema_of("entry"))
    assert schema_of("entry") == entry_schema(), REMEDY.format("entry")


REMEDY = "challenge config {0} --json-schema > configs/{0}.schema.json"


def test_the_page_is_current() -> None:
    code, out = config("--markdown")
    assert code == 0
    remedy = "challenge config --markdown > docs/reference.md"
    assert (ROOT / "docs" / "reference.md").read_text() == out, remedy
    for _, part in PARTS:
        for key in part.keys:
            assert f"| `{key.name}` |" in out
    for name in registry.METHODS:
        assert f"### `{name}`" in out


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("operatr", "did you mean `operator`?"),
        ("lr", "did you mean `train`?"),
        ("train.lrr", "did you mean `train.lr`?"),
        ("method.weight", "`challenge methods tv` the knobs of one"),
        ("nothing", "there are challenge, entry, images,"),
    ],
)
def test_what_is_no_section(asked: str, remedy: str) -> None:
    with pytest.raises(UserError) as error:
        config(asked)
    assert remedy in str(error.value)


def test_a_key_shows_its_section_and_a_program_gets_the_same() -> None:
    assert config("train.lr") == config("train")
    found = json.loads(config("operator.kernel", "--json")[1])
    assert {each["kind"] for each in found} >= {"file", "gaussian", "disk", "motion", "box"}
    assert {"challenge", "entry"} == set(json.loads(config("--json")[1]))
