"""The kit works in an empty folder, and holds nothing hidden."""

from __future__ import annotations

import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest

from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Hidden, Workspace
from challenge.submissions.entries.kit import make_kit


@pytest.fixture(scope="module")
def kit(challenge: Challenge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, made, and unpacked by an ordinary program."""
    folder = tmp_path_factory.mktemp("kit")
    steps: list[tuple[str, int, int]] = []
    made = make_kit(challenge, Workspace(folder), lambda *step: steps.append(step))
    assert made == folder / "tiny-kit.zip"
    assert steps[-1][1] == steps[-1][2] == len(steps)
    with zipfile.ZipFile(made) as file:
        file.extractall(folder)
    return folder / "tiny-kit"


def test_the_public_folder_is_whole(kit: Path, challenge: Challenge) -> None:
    copy = open_challenge(kit / "workspace" / "public" / "tiny", verify=True)
    assert copy.hash == challenge.hash


def test_nothing_hidden_is_in_it(kit: Path, hidden: Hidden) -> None:
    names = [str(path.relative_to(kit)) for path in kit.rglob("*")]
    assert not [name for name in names if "hidden" in name or "key" in name or "seal" in name]
    files = [path for path in hidden.path.rglob("*") if path.is_file() and path != hidden.rules]
    secret = [path.read_bytes() for path in files]
    assert hidden.key.read_bytes() in secret
    for path in kit.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert content not in secret
            assert hidden.key.read_bytes() not in content


def test_nothing_but_the_manifests_files(challenge: Challenge, tmp_path: Path) -> None:
    """A file that lies in the public folder by mistake does not go out."""
    stray = challenge.path / "stray.txt"
    stray.write_text("truth")
    try:
        made = make_kit(challenge, Workspace(tmp_path))
    finally:
        stray.unlink()
    with zipfile.ZipFile(made) as file:
        assert not [name for name in file.namelist() if "stray" in name]


def test_the_same_challenge_gives_the_same_kit(challenge: Challenge, tmp_path: Path) -> None:
    first, second = (make_kit(challenge, Workspace(tmp_path / name)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_texts_are_filled_in(kit: Path) -> None:
    for path in [*kit.glob("*.*"), *kit.glob("my_team/*"), *kit.glob("configs/*")]:
        assert "@" not in path.read_text(), path
    readme = (kit / "README.md").read_text()
    assert "| the entry, all files together | 1 MB |" in readme
    assert "challenge: tiny" in (kit / "configs" / "tv.yaml").read_text()
    assert {"tv.yaml", "wiener.yaml"} <= {path.name for path in (kit / "configs").iterdir()}
    assert not (kit / "configs" / "deblur.yaml").exists()


def test_it_says_whether_test_measurements_are_published(
    kit: Path, challenge: Challenge, tmp_path: Path
) -> None:
    assert not (kit / "workspace" / "public" / "tiny" / "test").exists()
    line = "| measurements of the test set | {} |"
    readme = (kit / "README.md").read_text()
    assert line.format("hidden: the judge hands them to your entry one by one") in readme
    rules = challenge.config.rules.model_copy(update={"test_measurements": "published"})
    config = challenge.config.model_copy(update={"rules": rules})
    manifest = json.loads((challenge.path / "manifest.json").read_text())
    made = make_kit(Challenge(challenge.path, config, manifest), Workspace(tmp_path))
    with zipfile.ZipFile(made) as file:
        readme = file.read("tiny-kit/README.md").decode()
    assert line.format("published: `workspace/public/tiny/test`") in readme


def test_the_template_and_its_config(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from challenge.configs.loader import load_entry
    from challenge.methods import registry

    monkeypatch.chdir(kit.parent)
    config, source = load_entry(str(kit / "my_team" / "mine.yaml"), (), registry.mistakes)
    assert (config.name, config.challenge) == ("mine", "tiny")
    registry.build(config.method, source.path.parent)


def test_the_kits_own_test_passes(kit: Path) -> None:
    runpy.run_path(str(kit / "tests" / "test_method.py"))["test_method_holds_to_the_contract"]()


def test_the_notebook_runs_from_top_to_bottom(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    notebook = json.loads((kit / "start.ipynb").read_text())
    nbformat.validate(nbformat.from_dict(notebook))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    monkeypatch.chdir(kit)
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    names["plt"].close("all")
    assert "mean PSNR" in capsys.readouterr().out
    assert len(names["scores"]) == 2
    assert min(names["scores"]) > 15
