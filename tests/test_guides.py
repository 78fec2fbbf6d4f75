"""The guides of organisers and teams: every command of them is one, and they run in their order."""

import glob
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = ("organiser", "team")
PREPARE = ["images.train=6", "images.val=1", "images.test=2", "images.size=48", "limits.threads=1"]
STEPS = ["train.minutes=null", "train.steps=4", "train.batch=1", "train.patch=32",
         "train.evaluate=2"]  # fmt: skip
SMALL = {"prepare": PREPARE, "train network": STEPS, "report": ["--quick"]}
"""What makes a command short, by its first word or two."""
BY_HAND = ("doctor",)
"""What needs a quiet machine."""


def text(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def commands(name: str) -> list[list[str]]:
    """Every command of the guide's blocks, without the word `challenge`."""
    lines = "".join(re.findall(r"```sh\n(.*?)```", text(name), re.S)).splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    assert all(words[0] == "challenge" for words in found)
    return [words[1:] for words in found]


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_and_option_of_a_guide_exists(name):
    """In its text too, where a command has no arguments that could be tried."""
    import typer.main

    from challenge.cli.main import app

    group = typer.main.get_command(app)
    for words in commands(name):
        command = group.commands[words[0]]
        command.make_context(words[0], words[1:], resilient_parsing=True)
        options = {each for parameter in command.params for each in parameter.opts}
        assert {each for each in words if each.startswith("--")} <= options, words
    told = re.findall(r"`challenge ([a-z]+)", text(name))
    assert told
    assert {*told} <= group.commands.keys()


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text(name)):
        assert (DOCS / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_from_top_to_bottom(name, tmp_path):
    """Every command of every block, in one folder; what differs from the page, and why:

    - `doctor --calibrate` is left out: its numbers need a quiet machine.
    - `prepare`, `train network` and `report` have settings of `SMALL` more, which make them short.
    - A team has its challenge from `prepare` in place of the kit, which is made and installed from
      nothing in `test_kit_from_nothing.py`.
    - The deadline of the page is a date; here it passes just before `reveal`.
    """
    (listed,) = re.findall(r"```yaml\n(.*?)```", text("organiser"), re.S)
    script = [
        "import glob, pathlib",
        "from datetime import UTC, datetime",
        "from challenge.cli.main import app",
        "import torch; torch.set_num_threads(1)",
        "def challenge(*arguments):",
        "    found = []",
        "    for each in arguments:",
        "        found += sorted(glob.glob(each)) if '*' in each else [each]",
        "    assert not app(found, standalone_mode=False), found",
    ]
    told = commands(name)
    if name == "team":
        told.insert(0, ["prepare", "deblur"])
    for words in told:
        if words[0] in BY_HAND:
            continue
        # The deadline passes when the week is over, not at the date of the guide.
        kept = [each for each in words if not each.startswith("rules.deadline=")]
        more = SMALL.get(words[0]) or SMALL.get(" ".join(words[:2]), [])
        if words[0] == "reveal":
            now = "f'rules.deadline={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}'"
            script.append(f"challenge('amend', {words[1]!r}, {now})")
        script.append(f"challenge(*{[*kept, *more]!r})")
        if words[0] == "prepare":
            script.append(f"pathlib.Path('workspace/teams.yaml').write_text({listed!r})")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = {
        "organiser": ["workspace/final/deblur/final.html", "board.html", "board.csv"],
        "team": ["report.html", "slides.html", "workspace/entries/alpha-small.zip"],
    }
    for path in expected[name]:
        assert glob.glob(str(tmp_path / path)), path
