"""What the README shows is what happens: its commands, its method, its notebook lines."""

import contextlib
import io
import json
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


def test_a_run_its_inference_and_its_score_are_five_lines(workspace):
    (lines,) = [text for text in blocks("python") if "trained.run" in text]
    assert len(lines.splitlines()) <= 5
    with contextlib.chdir(workspace), contextlib.redirect_stdout(io.StringIO()) as out:
        exec(lines, {"__name__": "__main__"})
    (told,) = [line for line in out.getvalue().splitlines() if line.endswith("dB on val")]
    run = workspace / "workspace/runs/deblur/mine"
    assert "weight: 0.006" in (run / "config.yaml").read_text()
    stored = json.loads((run / "score-val.json").read_text())
    assert float(told.split()[0]) == stored["psnr"]["mean"] > 15


def test_every_room_has_its_line_and_every_line_its_room():
    root = Path(__file__).parent.parent
    tree = README.partition("## Where things live")[2].partition("Imports point one way")[0]
    told, home = set(), ""
    for indent, name in re.findall(r"^    ( *)([a-z_]+)/ ", tree, re.M):
        home = home if indent else name
        told.add(f"{home}/{name}" if indent else name)
    for each in told:
        assert (root / each).is_dir(), each
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
        assert folder in told
    for folder in ("configs", "data", "methods", "submissions"):
        rooms = {f"{folder}/{each.name}" for each in (root / folder).iterdir() if each.is_dir()}
        assert {each for each in rooms if "__pycache__" not in each} <= told
