"""The commands and job scripts for training in docs/cluster.md are ones that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import typer.main

from challenge.cli.main import app

GUIDE = Path(__file__).parents[2] / "docs/cluster.md"


def blocks() -> list[str]:
    found = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.S)
    return [each.replace("\\\n", " ") for each in found]


def test_every_job_script_is_one_of_bash_and_is_submitted() -> None:
    scripts = [each for each in blocks() if each.startswith("#!")]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    named = set(re.findall(r"^`(\w+\.sbatch)`", GUIDE.read_text(), re.M))
    submitted = set(re.findall(r"^sbatch .*?(\w+\.sbatch)$", "\n".join(blocks()), re.M))
    assert len(named) == 3 and named == submitted


def test_every_training_of_the_guide_is_a_command() -> None:
    train = typer.main.get_command(app).commands["train"]
    options = {each for parameter in train.params for each in parameter.opts}
    lines = [line for block in blocks() for line in block.splitlines()]
    commands = [
        line[line.index("challenge train") :] for line in lines if "challenge train" in line
    ]
    assert len(commands) == 7
    for command in commands:
        words = shlex.split(command)[2:]
        train.make_context("train", list(words), resilient_parsing=True)
        assert {each for each in words if each.startswith("--")} <= options
        assert "train" not in words  # the whole of it was found
