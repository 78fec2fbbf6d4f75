"""The same run gives the same bytes, and nothing that would be refused is written."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions.entries import archive, summary
from challenge.submissions.entries.check import check
from challenge.submissions.entries.pack import copy_entry_files, pack, repack, target_of
from challenge.submissions.entries.teams import Teams
from challenge.submissions.layout import Run
from challenge.submissions.runs import curves


def test_the_same_run_gives_the_same_bytes(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run = make_run()
    first, second = tmp_path / "a" / "alpha-mine.zip", tmp_path / "b" / "alpha-mine.zip"
    pack(run, "alpha", first, challenge, None)
    # Later, by other means, with the tensors in another order and with other metadata.
    tensors = safetensors.torch.load_file(run.weights)
    safetensors.torch.save_file(dict(reversed(tensors.items())), run.weights, {"a": "1", "b": "2"})
    os.utime(run.config, (0, 0))
    run.plugin.chmod(0o700)
    (run.plugin / "method.py").chmod(0o600)
    pack(run, "alpha", second, challenge, None)
    assert first.read_bytes() == second.read_bytes()


def test_unpacked_and_written_again(make_entry: Callable[..., Path], tmp_path: Path) -> None:
    entry = make_entry()
    archive.extract(entry, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    contents = {str(path.relative_to(tmp_path / "out")): [path.read_bytes()] for path in files}
    archive.write(tmp_path / "again.zip", contents)
    assert (tmp_path / "again.zip").read_bytes() == entry.read_bytes()


def test_what_is_in_an_entry(make_entry: Callable[..., Path]) -> None:
    with zipfile.ZipFile(make_entry()) as file:
        infos = file.infolist()
        facts = json.loads(file.read("manifest.json"))
    assert [info.filename for info in infos] == [
        "config.yaml", "manifest.json", "plugin/blocks.py", "plugin/method.py",
        "weights.safetensors",
    ]  # fmt: skip
    assert {(info.date_time, info.compress_type, info.external_attr >> 16) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o100644)
    }
    assert facts["team"] == "alpha"
    assert facts["files"].keys() == {info.filename for info in infos} - {"manifest.json"}


def test_a_dry_run_sees_what_is_packed(
    make_run: Callable[..., Run], make_entry: Callable[..., Path], tmp_path: Path
) -> None:
    entry = make_entry()
    archive.extract(entry, tmp_path / "packed")
    copy_entry_files(make_run(), tmp_path / "staged")
    (tmp_path / "packed" / "manifest.json").unlink()
    packed, staged = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}
        for root in (tmp_path / "packed", tmp_path / "staged")
    )
    assert packed == staged


@pytest.mark.parametrize(
    ("team", "said"),
    [("Alpha", "cannot be the name of a team"), ("alfa", "did you mean `alpha`? teams: alpha")],
)
def test_the_team(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path, team: str, said: str
) -> None:
    teams = Teams.model_validate({"teams": {"alpha": {}}})
    target = tmp_path / "entries" / "entry.zip"
    with pytest.raises(UserError) as raised:
        pack(make_run(), team, target, challenge, teams)
    assert said in str(raised.value)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


LARGE = """
import torch
from challenge.methods.contract import Method

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.register_buffer("much", torch.full((250_000,), 0.1))

    def forward(self, y, physics):
        return y
"""


def test_an_oversize_run_is_refused_and_the_old_entry_stays(
    make_entry: Callable[..., Path], make_run: Callable[..., Run], challenge: Challenge
) -> None:
    entry = make_entry()
    before = entry.read_bytes()
    with pytest.raises(UserError, match=r"alpha-mine\.zip: holds 1,00\d,\d+ bytes, 1,000,000"):
        pack(make_run(LARGE), "alpha", entry, challenge, None)
    assert entry.read_bytes() == before
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]


def test_every_problem_at_once_before_anything_is_written(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run = make_run()
    (run.plugin / "broken.py").write_text("def")
    (run.plugin / "blocks.py").write_text("x = (")
    with pytest.raises(UserError) as raised:
        pack(run, "alpha", tmp_path / "entry.zip", challenge, None)
    assert [mistake.place for mistake in raised.value.mistakes] == [
        "entry.zip/plugin/blocks.py:1",
        "entry.zip/plugin/broken.py:1",
    ]


def test_a_run_of_another_challenge(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run = make_run()
    record = json.loads(run.facts.read_text())
    record["challenge"]["hash"] = "1" * 64
    run.facts.write_text(json.dumps(record))
    with pytest.raises(UserError, match="was trained for another preparation"):
        pack(run, "alpha", tmp_path / "entry.zip", challenge, None)


def test_weights_that_are_none(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run = make_run()
    torch.save({}, run.weights)
    with pytest.raises(UserError, match=r"weights\.safetensors: has a header of"):
        pack(run, "alpha", tmp_path / "entry.zip", challenge, None)


def test_links_and_hidden_files_stay_out(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run = make_run()
    (run.plugin / ".secret.py").write_text("")
    (run.plugin / "link.py").symlink_to("/etc/hostname")
    (run.plugin / "notes.md").write_text("")
    target = tmp_path / "entry.zip"
    pack(run, "alpha", target, challenge, None)
    assert check(target, challenge) == []
    with zipfile.ZipFile(target) as file:
        assert [name for name in file.namelist() if name.startswith("plugin")] == [
            "plugin/blocks.py",
            "plugin/method.py",
        ]


def test_a_zip_of_another_challenge_team_or_name_is_not_replaced(
    make_entry: Callable[..., Path], tmp_path: Path
) -> None:
    place = Workspace(tmp_path / "workspace")
    entry = make_entry()  # alpha-mine.zip, for `tiny`
    names = {
        ("alpha", "mine", "tiny"): "alpha-mine.zip",
        ("alpha", "mine", "other"): "alpha-mine-other.zip",
        ("beta", "mine", "tiny"): "beta-mine.zip",
    }
    assert {each: target_of(place, *each).name for each in names} == names
    # Whose file names are the same, though nothing else is.
    split = entry.rename(entry.with_name("a-b-c.zip"))
    assert target_of(place, "a", "b-c", "tiny").name == "a-b-c-tiny.zip"
    split.with_name("a-b-c-tiny.zip").write_bytes(b"something else")
    with pytest.raises(UserError, match="a-b-c.zip: is not a's entry `b-c` for `tiny`, and neith"):
        target_of(place, "a", "b-c", "tiny")
    split.unlink()
    split.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="move one of them away"):
        target_of(place, "a", "b-c", "tiny")


LOG = '{"step": 1, "loss": 0.5, "lr": 0.1}\n{"step": 2, "loss": 0.25, "psnr": 20.5}\n'


def _with_log(make_run: Callable[..., Run]) -> Run:
    run = make_run()
    run.log.write_text(LOG)
    return run


def test_curves_of_the_training_travel_with_the_entry(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    """Packed, unpacked, packed anew; the manifest declares them, and a dry run has them."""
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    pack(_with_log(make_run), "alpha", first, challenge, None)
    repack(first, "beta", second, challenge, None)
    for entry in (first, second):
        assert check(entry, challenge) == []
        with zipfile.ZipFile(entry) as file:
            assert "curves.json" in json.loads(file.read("manifest.json"))["files"]
            stored = curves.parse(file.read("curves.json"))
        assert stored.curves["loss"].values == (0.5, 0.25)
        assert stored.curves["psnr"].steps == (2,)
        found = summary.of(entry)
        assert (found.curves, found.parameters) == (stored, 3)
        assert found.method == "plugin/method.py:Mine"
        assert found.settings == ""
    copy_entry_files(_with_log(make_run), tmp_path / "staged")
    assert curves.parse((tmp_path / "staged" / "curves.json").read_bytes()) == stored


@pytest.mark.parametrize("content", [b"", b'{"format":1,"curves":{"<b>":1}}', b" " * 40_000])
def test_curves_that_are_none_are_refused(
    make_entry: Callable[..., Path], challenge: Challenge, tmp_path: Path, content: bytes
) -> None:
    with zipfile.ZipFile(make_entry()) as file:
        files = {name: file.read(name) for name in file.namelist()}
    facts = json.loads(files["manifest.json"])
    digest = hashlib.sha256(content).hexdigest()
    facts["files"]["curves.json"] = {"sha256": digest, "size": len(content)}
    files |= {"curves.json": content, "manifest.json": json.dumps(facts).encode()}
    archive.write(tmp_path / "a.zip", {name: [each] for name, each in files.items()})
    (problem,) = check(tmp_path / "a.zip", challenge)
    assert problem.outcome == "invalid_entry"
    assert problem.mistake.place == "a.zip/curves.json"
    assert "is wrong, " in problem.mistake.cause
