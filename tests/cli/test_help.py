"""`--help` is instant, and every command's help has an example."""

import re
import subprocess
import sys

import pytest

COMMANDS = (
    *("demo", "prepare", "train", "infer", "score", "compare", "pack", "check"),
    *("amend", "analyse", "board", "methods", "config", "kit", "report", "reveal", "rules", "seal"),
    *("doctor", "workers"),
)
HEAVY = {"torch", "deepinv", "numpy", "skimage", "scipy", "matplotlib", "lightning_fabric", "PIL"}


def challenge(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = "from challenge.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )


def modules_after(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_help_imports_nothing_heavy():
    code = "sys.argv = ['challenge', '--help']; from challenge.cli.main import main; main()"
    loaded = modules_after(code)
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert not loaded & {"pydantic", "yaml"}


FREE_OF_TORCH = (
    "challenge.submissions.judging.board",
    "challenge.submissions.reports.board_page",
    "challenge.submissions.entries.check",
    "challenge.submissions.inference.supervisor",
    "challenge.submissions.judging.result_files",
    "challenge.configs.loader",
)


def test_board_check_and_supervisor_stay_free_of_torch():
    """All in one process: what one of them imports would be there."""
    loaded = modules_after(f"import {', '.join(FREE_OF_TORCH)}")
    assert not loaded & {"torch", "deepinv", "skimage", "matplotlib"}


def test_help_lists_every_command():
    done = challenge("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"  {command}" in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2], "a summary is cut"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(elsewhere, command):
    done = elsewhere(command, "--help")
    assert done.code == 0, done.err
    assert f"Example: challenge {command}" in " ".join(done.out.split())


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_takes_is_said_in_words(elsewhere, command, columns, monkeypatch):
    """No type of Python stands in the help, and every option that takes a value has a word."""
    monkeypatch.setenv("COLUMNS", str(columns))
    out = elsewhere(command, "--help").out
    assert max(map(len, out.splitlines())) <= columns
    for word in (r"<[a-zA-Z]", r"list\[", "Path", "int range", r"float\b", " str ", "INTEGER"):
        assert not re.search(word, out), word
    shown = out.partition("Options:")[2]
    for option, value in re.findall(r"^  (--[a-z-]+)((?: \S+)?)(?:  |$)", shown, flags=re.M):
        assert not value or value == value.upper(), f"{option}{value}"


def test_version(elsewhere):
    assert elsewhere("--version").out.startswith("challenge 0.")


def test_unknown_command_is_a_line_and_code_2(elsewhere):
    done = elsewhere("trian")
    assert done.code == 2
    assert "train" in done.err
    assert "Traceback" not in done.err
