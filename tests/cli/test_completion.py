"""What Tab proposes: names that are there, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from challenge.cli.shared import completion
from challenge.configs.paths import names
from challenge.methods import registry
from challenge.submissions.jail.levels import LEVELS
from challenge.submissions.layout import baselines

TV = "workspace/runs/deblur/tv"
ENTRY = "workspace/entries/alpha-tv.zip"
CASES = {
    "challenge methods ": set(registry.METHODS),
    "challenge methods w": {"wavelet", "wiener"},
    "challenge prepare ": set(names("challenges")),
    "challenge train ": {*names("methods"), TV},
    "challenge train tv --device c": {"cpu", "cuda"},
    "challenge infer ": {TV},
    "challenge score ": {TV, ENTRY},
    "challenge score x --isolation ": set(LEVELS),
    "challenge compare ": {TV, ENTRY, *baselines()},
    "challenge analyse ": {TV, ENTRY},
    "challenge analyse x --algorithm p": {"pgd"},
    "challenge analyse x --challenge ": {"deblur"},
    "challenge compare une": {"unet"},
    "challenge compare x --challenge ": {"deblur"},
    "challenge report ": {TV, ENTRY, *baselines()},
    "challenge report x --challenge ": {"deblur"},
    "challenge pack ": {TV, ENTRY, *baselines()},
    "challenge pack x --challenge ": {"deblur"},
    "challenge pack x --dtype ": {"float16", "bfloat16"},
    "challenge check ": {ENTRY},
    "challenge check workspace/e": {ENTRY},
    "challenge board ": {"deblur"},
    "challenge kit d": {"deblur"},
    "challenge amend d": {"deblur"},
    "challenge seal ": {"deblur"},
    "challenge reveal ": {"deblur"},
    "challenge config tr": {"train", "train.augment"},
    "challenge doctor --isolation l": {"landlock"},
    "challenge infer workspace/r": {TV},
    "challenge train my_": {"my_team/"},
    "challenge train my_team/": {"my_team/mine.yaml"},
    "challenge methods my_team/": {"my_team/method.py"},
}


@pytest.fixture
def proposed(story: Path, call, monkeypatch: pytest.MonkeyPatch):
    folder = story / "my_team"
    folder.mkdir(exist_ok=True)
    for name in ("method.py", "mine.yaml"):
        (folder / name).touch()

    def complete(typed: str) -> set[str]:
        monkeypatch.setenv("_CHALLENGE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
        done = call(story)
        assert done.code == 0, done.err
        return set(done.out.split())

    yield complete
    for name in ("method.py", "mine.yaml"):
        (folder / name).unlink()
    folder.rmdir()


@pytest.mark.parametrize("typed", CASES)
def test_what_is_there_is_proposed(proposed, typed: str) -> None:
    assert proposed(typed) >= CASES[typed]
    if not typed.endswith(" "):
        assert proposed(typed) == CASES[typed]


def test_it_is_free_of_torch(story: Path) -> None:
    """Every case in one process; a person waits for it with a finger on the key."""
    code = (
        "import os, sys\nfrom challenge.cli.main import main\n"
        f"for typed in {list(CASES)!r}:\n"
        "    os.environ.update(_CHALLENGE_COMPLETE='complete_bash', COMP_WORDS=typed,\n"
        "                      COMP_CWORD=str(len(typed.split(' ')) - 1))\n"
        "    sys.argv = ['challenge']\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=story, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "typer" in loaded
    assert not loaded & {"torch", "deepinv", "numpy", "skimage", "scipy", "matplotlib", "PIL"}


def test_its_levels_are_those_of_the_jail() -> None:
    assert completion.LEVELS == LEVELS
