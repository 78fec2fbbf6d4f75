"""What the README shows is what happens: its commands, its method, its notebook lines."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
SMALL = ["images.train=8", "images.val=1", "images.test=2", "images.size=64"]


def blocks(kind: str) -> list[str]:
    return [text for language, text in BLOCKS if language == kind]


def commands() -> list[list[str]]:
    """Every `challenge ...` of the README, in blocks and in the text."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"`(challenge [^`\n]+)`", README)
    lines += re.findall(r"\.venv/bin/(challenge .+)$", README, re.M)
    found = [line.partition("#")[0].split() for line in lines]
    return [each[1:] for each in found if each[:1] == ["challenge"]]


def challenge(*arguments: str, folder: Path) -> str:
    """Run a command in this process, since a start takes longer than most commands; its output."""
    from challenge.cli.main import app

    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
        code = app([*arguments], standalone_mode=False)
    assert not code, f"{arguments}\n{out.getvalue()}"
    return out.getvalue()


def test_every_command_of_the_readme_exists():
    from challenge.cli.main import app

    known = {each.callback.__name__ for each in app.registered_commands if each.callback}
    named = {arguments[0] for arguments in commands() if arguments[0].isalpha()}
    assert named - {"runs"} <= known
    assert known - named == set()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    challenge("prepare", "deblur", *SMALL, folder=folder)
    return folder


def test_the_readmes_own_method_goes_all_the_way(workspace):
    (method,) = [text for text in blocks("python") if "my_team/method.py" in text]
    (config,) = [text for text in blocks("yaml") if "my_team/method.py" in text]
    assert len([line for line in method.splitlines() if line.strip()]) <= 20
    (workspace / "my_team").mkdir()
    (workspace / "my_team" / "method.py").write_text(method)
    (workspace / "landweber.yaml").write_text(config)
    challenge("train", "landweber.yaml", folder=workspace)
    run = "workspace/runs/deblur/landweber"
    challenge("infer", run, folder=workspace)
    assert "PSNR" in challenge("score", run, folder=workspace)
    challenge("pack", run, "--team", "alpha", folder=workspace)
    challenge("check", "workspace/entries/alpha-landweber.zip", folder=workspace)


def test_the_notebook_lines_run(workspace):
    (lines,) = [text for text in blocks("python") if "open_challenge" in text]
    with contextlib.chdir(workspace), contextlib.redirect_stdout(io.StringIO()) as out:
        exec(lines, {"__name__": "__main__"})
    level, similarity = map(float, out.getvalue().split())
    assert 15 < level < 45
    assert 0 < similarity < 1


def test_every_folder_has_its_line():
    root = Path(__file__).parent.parent
    tree = README.partition("## Where things live")[2]
    for folder in (
        "cli",
        "configs",
        "data",
        "methods",
        "submissions",
        "tests",
        "benchmarks",
        "docs",
    ):
        assert (root / folder).is_dir()
        assert f"    {folder}/" in tree
