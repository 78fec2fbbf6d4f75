"""No name acts on a terminal, forges a line or ends a command."""

import ast
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from challenge.cli.shared import console, streams
from challenge.methods import syntax

FORGED = "beta.zip: crash: its method raised an exception"
NAMES = {
    "new line": f"b\n{FORGED}",
    "carriage return": f"b\r{FORGED}",
    "line separator": f"b\u2028{FORGED}",
    "next line": f"b\x85{FORGED}",
    "form feed": f"b\x0c{FORGED}",
    "colours": "b\x1b[31mred",
    "title of the window": "b\x1b]0;title\x07",
    "one C1 control": "b\x9b31mred",
    "right to left": "b\u202epiz.ahpla",
    "isolate": "b\u2066piz",
    "no width": "b\u200bc",
    "backspaces": "b\x08\x08c",
    "delete": "b\x7fc",
    "not UTF-8": "b\udcffc",
    "markup": "[red]b",
    "a link": "[link=x]b",
    "braces": "{b} {0} %s",
    "long": "b" * 200,
}
TYPED = ("new line", "title of the window", "right to left", "not UTF-8", "markup")
"""One of each kind, for every command; the others show that all printing is alike."""
COMMANDS = {
    "check": (["check", "NAME.zip"], "zip"),
    "check a baseline": (["check", "NAME.zip"], "baseline"),
    "check nothing": (["check", "NAME"], ""),
    "check a folder": (["check", "NAME"], "folder"),
    "score": (["score", "NAME.zip"], "zip"),
    "score nothing": (["score", "NAME", "--hidden", "NAME"], ""),
    "score in no hidden folder": (["score", "NAME.zip", "--hidden", "NAME"], "zip"),
    "score a folder": (["score", "NAME"], "folder"),
    "infer": (["infer", "NAME"], "folder"),
    "compare": (["compare", "NAME.zip"], "zip"),
    "compare nothing": (["compare", "NAME"], ""),
    "compare to": (["compare", "unet", "--out", "NAME"], ""),
    "analyse": (["analyse", "NAME.zip"], "zip"),
    "analyse nothing": (["analyse", "NAME"], ""),
    "analyse to": (["analyse", "unet", "--out", "NAME"], ""),
    "analyse at": (["analyse", "unet", "--levels", "NAME"], ""),
    "analyse in": (["analyse", "unet", "--algorithm", "NAME"], ""),
    "report": (["report", "NAME.zip"], "zip"),
    "report nothing": (["report", "NAME"], ""),
    "report to": (["report", "unet", "--out", "NAME"], ""),
    "pack": (["pack", "NAME.zip", "--team", "alpha"], "zip"),
    "pack nothing": (["pack", "NAME", "--team", "alpha"], ""),
    "pack for a team": (["pack", "unet", "--team", "NAME"], ""),
    "pack for a challenge": (["pack", "unet", "--team", "alpha", "--challenge", "NAME"], ""),
    "train": (["train", "NAME"], ""),
    "train a setting": (["train", "tv", "NAME=1"], ""),
    "train a value": (["train", "tv", "challenge=NAME"], ""),
    "train on": (["train", "tv", "--device", "NAME"], ""),
    "prepare": (["prepare", "NAME"], ""),
    "prepare a name": (["prepare", "deblur", "name=NAME"], ""),
    "prepare images": (["prepare", "deblur", "images.source=folder", "images.path=NAME"], ""),
    "kit": (["kit", "NAME"], ""),
    "seal": (["seal", "NAME"], ""),
    "reveal": (["reveal", "NAME"], ""),
    "amend": (["amend", "NAME"], ""),
    "amend a setting": (["amend", "deblur", "NAME=1"], ""),
    "board": (["board", "NAME"], ""),
    "board of": (["board", "--workspace", "NAME"], ""),
    "board to": (["board", "--html", "NAME"], ""),
    "methods": (["methods", "NAME"], ""),
    "methods of a file": (["methods", "NAME.py"], "python"),
    "demo": (["demo", "NAME"], "folder"),
    "workers": (["workers", "NAME"], ""),
    "no option": (["board", "--NAME"], ""),
    "no command": (["NAME"], ""),
    "one too many": (["board", "a", "NAME"], ""),
}
REPEATED = ("check", "check a folder", "score nothing", "infer", "compare nothing", "kit", "demo")
"""Commands that say the name again."""
PYTHON = '''
from challenge.methods import Method


class Mine(Method):
    """{name}\n\n    and {name}."""

    def forward(self, y, physics):
        return y
'''


def made(folder: Path, kind: str, name: str) -> None:
    if kind == "zip":
        (folder / f"{name}.zip").write_bytes(b"not a zip")
    elif kind == "baseline":
        from challenge.submissions.layout import baselines

        shutil.copyfile(baselines()["bilevel-convex"], folder / f"{name}.zip")
    elif kind == "folder":
        (folder / name).mkdir()
    elif kind == "python":
        (folder / f"{name}.py").write_text(PYTHON.format(name=name), errors="surrogateescape")


def harmful(text: str) -> list[str]:
    return [each for each in text if not each.isprintable() and each != "\n"]


@pytest.mark.parametrize("which", COMMANDS)
def test_no_name_acts_on_the_terminal(call, tmp_path, which):
    """Nor does it take a line of its own, or vanish as markup, or end in a traceback."""
    command, kind = COMMANDS[which]
    seen = []
    for number, what in enumerate(TYPED):
        name = NAMES[what]
        folder = tmp_path / str(number)
        folder.mkdir()
        made(folder, kind, name)
        done = call(folder, *(each.replace("NAME", name) for each in command))
        said = done.out + done.err
        assert not harmful(said), (what, said)
        assert not any(line.startswith("beta.zip") for line in said.splitlines()), (what, said)
        assert "Traceback" not in said
        seen.append(said)
        if what == "markup" and which in REPEATED:
            assert name in said, (what, said)
    assert any(seen)


def test_a_name_that_is_not_utf8_does_not_keep_others_from_being_checked(call, tmp_path):
    for name in ("b\udcff.zip", "c.zip"):
        made(tmp_path, "baseline", name.removesuffix(".zip"))
    done = call(tmp_path, "check", "b\udcff.zip", "c.zip")
    assert [line.partition(": ok")[0] for line in done.out.splitlines()] == [
        r"b\udcff.zip",
        "c.zip",
    ]


def test_a_judged_name_is_harmless_wherever_it_is_repeated(story, call, tmp_path):
    """By `score`, `board`, their JSON, and the file of the result."""
    shutil.copytree(story / "workspace", tmp_path / "workspace")
    for path in (tmp_path / "workspace/results").glob("*.json"):
        path.unlink()
    hidden = ["--hidden", "workspace/hidden/deblur"]
    for name in NAMES.values():
        (tmp_path / f"{name}.zip").write_bytes(name.encode(errors="surrogateescape"))
    zips = [f"{name}.zip" for name in NAMES.values()]
    said = ""
    for command in (["score", *zips, *hidden], ["score", *zips, *hidden, "--json"]):
        done = call(tmp_path, *command)
        assert done.code == 0, done.err
        said += done.out + done.err
    for command in (["board", "--all"], ["board", "--all", "--json"]):
        done = call(tmp_path, *command)
        assert done.code == 0, done.err
        said += done.out + done.err
    assert len(json.loads(done.out)["rows"]) == len(NAMES)
    for path in (tmp_path / "workspace/results").glob("*.json"):
        said += path.read_bytes().decode()
    assert not harmful(said)
    assert not any(line.startswith("beta.zip") for line in said.splitlines())


class Terminal(io.StringIO):
    """What a terminal would get."""

    def isatty(self):
        return True


@pytest.mark.parametrize("what", NAMES)
def test_every_way_to_print_is_harmless_on_a_terminal(what, monkeypatch):
    """Of the sequences that a terminal gets, all are ours: colours, and the drawing of the bar."""
    name = NAMES[what]
    sent = []
    for each in (name, "b"):
        screen = Terminal()
        for stream in ("stdout", "stderr"):
            monkeypatch.setattr(f"sys.{stream}", screen)
        monkeypatch.setattr("sys.excepthook", None)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "4000")
        streams.guard()
        for out in (console.say, console.warn, console.alarm, console.show, console.show_json):
            out(each)
        console.fail(console.UserError.of(each, each, each))
        console.table([each, (each, each)], [[each, (each, each)]], title=each, left=[each])
        console.say_block(each, f"{each}\n{each}")
        with console.progress() as report:
            report(each, 1, 2, each)
            console.say(each)
            print(each.replace("\n", ""))
            report(each, 2, 2, each)
        sent.append(screen.getvalue())
    hostile, plain = sent
    assert hostile.count("\x1b") == plain.count("\x1b")
    assert set(harmful(hostile)) <= {"\x1b", "\r"}
    assert not any(line.startswith("beta.zip") for line in hostile.splitlines())


def test_only_the_console_prints():
    """What prints elsewhere goes around the rule."""
    import challenge.cli

    wrong = []
    (folder,) = challenge.cli.__path__
    for path in sorted(Path(folder).rglob("*.py")):
        if path.name in ("console.py", "streams.py", "columns.py", "progress_line.py"):
            continue
        for node in ast.walk(syntax.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "sys.stdout.write", "sys.stderr.write", "click.echo"):
                wrong.append(f"{path.name}:{node.lineno}")
            # A line end in a message would be written out, as one in a name is.
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            if called in ("say", "warn", "show", "alarm"):
                wrong += [f"{path.name}:{node.lineno}" for each in texts if "\n" in str(each)]
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
                wrong.append(f"{path.name}:{node.lineno}")
    assert not wrong


def test_an_encoding_without_the_letters_is_no_end():
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    streams.HarmlessStream(raw).write("Größe \u202e \udcff")
    raw.flush()
    assert raw.buffer.getvalue() == rb"Gr\xf6\xdfe \u202e \udcff"


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_json_files_hold_any_name_and_nothing_harmful(tmp_path):
    from challenge.data import atomic

    atomic.write_json(tmp_path / "x.json", {name: name for name in NAMES.values()})
    text = (tmp_path / "x.json").read_bytes().decode()
    assert not harmful(text)
    assert json.loads(text) == {name: name for name in NAMES.values()}
