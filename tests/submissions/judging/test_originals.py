"""The truth's originals stay closed wherever they lie, under whatever name an entry finds them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Hidden, Workspace
from challenge.submissions.entries import packages
from challenge.submissions.jail import places, readable
from challenge.submissions.judging import originals, trial
from challenge.submissions.judging.judge import open_judge

GOOD = frozenset({"good"})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package whose folder entries can read."""
    site = tmp_path / "site-packages"
    folder, facts = site / "good", site / "good-1.0.dist-info"
    folder.mkdir(parents=True)
    facts.mkdir()
    (folder / "__init__.py").write_text("")
    (facts / "RECORD").write_text("good/__init__.py,,\n")
    monkeypatch.setattr(places, "packages", lambda: (str(site),))
    cached = (readable.readable, originals._by_size)
    for function in cached:
        function.cache_clear()
    yield folder
    for function in cached:
        function.cache_clear()


@pytest.fixture
def hidden(tmp_path: Path) -> Hidden:
    made = Workspace(tmp_path / "course" / "workspace").hidden("tiny")
    made.image("0001").parent.mkdir(parents=True)
    made.image("0001").write_bytes(b"the truth as it is stored")
    made.key.write_bytes(b"the key")
    return made


def record(hidden: Hidden, test: str, **more: object) -> None:
    hidden.sources.write_text(json.dumps({"train": {}, "val": {}, "test": {"0001": test}, **more}))


Put = Callable[[Path, Path], None]
OTHERS: dict[str, Put] = {
    "a hard link": lambda original, there: os.link(original, there / "another.png"),
    "a hard link that is called like code": lambda original, there: os.link(
        original, there / "module.py"
    ),
    "a copy of the same bytes": lambda original, there: _copy(original, there / "icon.svg"),
    "a copy of the stored truth": lambda original, there: _copy(
        original.parents[1] / "course/workspace/hidden/tiny/test/0001.png", there / "x"
    ),
    "a hard link to the stored truth": lambda original, there: os.link(
        original.parents[1] / "course/workspace/hidden/tiny/test/0001.png", there / "0001.png"
    ),
    "a copy of the key": lambda original, there: _copy(
        original.parents[1] / "course/workspace/hidden/tiny/key", there / "key.bin"
    ),
}
"""What an entry could find under another name: each is put into the folder of a package."""


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_the_content_of_a_secret_file_is_closed(
    name: str, package: Path, hidden: Hidden, tmp_path: Path
) -> None:
    original = tmp_path / "photographs" / "a.png"
    original.parent.mkdir()
    original.write_bytes(b"a photograph as it was taken")
    (package / "innocent.png").write_bytes(b"a photograph as it was shown")
    OTHERS[name](original, package)
    record(hidden, str(original))
    (other,) = {*package.iterdir()} - {package / "innocent.png", package / "__init__.py"}
    assert originals.closed(hidden, GOOD) == sorted([original, other])


def test_originals_are_found_as_every_toolkit_wrote_them_down(
    hidden: Hidden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path
) -> None:
    course, elsewhere = tmp_path / "course", tmp_path / "elsewhere"
    for folder in (course, elsewhere):
        (folder / "photographs").mkdir(parents=True)
        (folder / "photographs" / "a.png").write_bytes(b"a")
    (course / "link.png").symlink_to(elsewhere / "photographs" / "a.png")
    beside, away = (each / "photographs" / "a.png" for each in (course, elsewhere))
    (package / "a.png").write_bytes(b"of another package")
    monkeypatch.chdir(elsewhere)
    cases = {
        "photographs/a.png": [beside, away],
        str(away): [away],
        str(course / "link.png"): [away],
        str(package / "a.png"): [package / "a.png"],
        "astronaut.png, crop at (0, 0)": [],
        str(tmp_path / "gone.png"): [],
        "x" * 5000: [],
    }
    for name, expected in cases.items():
        record(hidden, name)
        assert originals.closed(hidden, GOOD) == expected, name
    record(hidden, str(beside), duplicates={"0": str(away)})
    assert originals.closed(hidden, GOOD) == [beside, away]
    hidden.sources.unlink()
    assert originals.closed(hidden, GOOD) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"test": []}', "\udcff"])
def test_a_damaged_list_is_not_passed_over(content: str, hidden: Hidden) -> None:
    hidden.sources.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"sources.json: is damaged; restore it from a copy"):
        originals.closed(hidden, GOOD)


def test_photographs_of_installed_software_are_told_of(
    hidden: Hidden, package: Path, tmp_path: Path
) -> None:
    system = next(Path("/usr/share").glob("**/*.*"), None)
    own = tmp_path / "photographs" / "a.png"
    (package / "pictures").mkdir()
    for path in (own, package / "pictures" / "b.png"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    record(hidden, str(own))
    assert originals.warnings(hidden) == []
    record(hidden, str(package / "pictures" / "b.png"))
    (line,) = originals.warnings(hidden)
    assert line.startswith(f"{package / 'pictures'}: software is installed here, and test images")
    assert "(1); others have them too" in line
    if system is not None and system.is_file():
        record(hidden, str(system))
        assert len(originals.warnings(hidden)) == 1


def test_the_judge_closes_them_and_what_is_not_permitted(
    workspace: Workspace, challenge: Challenge, tmp_path: Path
) -> None:
    hidden = Hidden(tmp_path / "hidden" / "tiny")
    shutil.copytree(workspace.hidden("tiny").path, hidden.path)
    original = tmp_path / "photographs" / "a.png"
    original.parent.mkdir()
    original.write_bytes(b"a photograph as it was taken")
    record(hidden, str(original))
    jail = open_judge(workspace, challenge, hidden, None, level="process").jail
    assert {workspace.path, hidden.path, original} <= {*jail.protected}
    permitted = packages.readable(challenge.config.rules)
    assert jail.permitted == trial.jail_of(challenge, "process").permitted == permitted
    assert "torch" in permitted and "pytest" not in permitted
