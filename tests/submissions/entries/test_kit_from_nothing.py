"""A team's first hour: an empty folder, an environment without the toolkit, the kit's own page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from challenge.configs.loader import load_challenge
from challenge.data import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.submissions.entries.kit import make_kit

SMALL = ["images.train=8", "images.val=2", "images.test=3", "images.size=64"]
RUNNER = """
import json, shlex, sys
for command in json.loads(sys.argv[1]):
    print("$", command, flush=True)
    program, *arguments = shlex.split(command, comments=True)
    sys.argv = [program, *arguments]
    if program == "pytest":
        import pytest
        code = pytest.main(["-q", "-p", "no:cacheprovider"])
    else:
        from challenge.cli.main import app
        code = app(obj=app, standalone_mode=False)
    if code:
        sys.exit(f"{command}: {code}")
import challenge.cli
print("toolkit:", challenge.cli.__file__)
"""
"""The commands one after the other in one process: torch is imported once."""


def commands(readme: str) -> list[str]:
    """The lines of the code blocks."""
    return [line.strip() for line in re.findall(r"^    (\S.*)$", readme, flags=re.M)]


def environment(folder: Path, kit: Path) -> Path:
    """A new environment with the kit's wheel; what that needs is shared by path, not downloaded."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    # The editable install of this checkout is not on that path: a `.pth` file that is found
    # through another one is not read.
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = kit.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, *install], check=True)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["colour", "grey"])
def test_the_page_leads_from_the_zip_to_a_checked_entry(tmp_path: Path, mode: str) -> None:
    place = Workspace(tmp_path / "organiser")
    config, source = load_challenge("deblur", [*SMALL, f"images.mode={mode}"])
    prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
    opened = open_challenge(place.public("deblur").path)
    with zipfile.ZipFile(make_kit(opened, place)) as file:
        file.extractall(tmp_path)
    kit = tmp_path / "deblur-kit"
    found = commands((kit / "README.md").read_text())
    assert found[0].startswith("python3 -m venv .venv && . .venv/bin/activate")
    assert found[1].startswith("pip install -r requirements.txt")
    python = environment(kit / ".venv", kit)
    asked = [
        each.replace("mine.yaml ", "mine.yaml train.steps=10 ") if " train " in each else each
        for each in found[2:]
        if "/tv " not in each  # as with the template's run, a jail each
    ]
    if mode == "colour":  # what takes a jail is played once
        asked = [each for each in asked if re.match("challenge (train my|pack|check)", each)]
        asked[-1] = asked[-1].replace("--run", "")
    done = subprocess.run(
        [python, "-c", RUNNER, json.dumps(asked)], cwd=kit, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"toolkit: {kit}" in done.stdout
    assert "my-team-mine.zip: ok (deblur allows it)" in done.stdout
    assert ("contract  every rule holds" in done.stdout) == (mode == "grey")
    (entry,) = (kit / "workspace" / "entries").iterdir()
    assert entry.name == "my-team-mine.zip"
