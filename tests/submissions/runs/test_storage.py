"""Runs are complete before work begins, continue only as themselves, and open again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.methods.contract import Method
from challenge.submissions import machine
from challenge.submissions.entries.load import load
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage, team_files
from challenge.submissions.runs.facts import MadeFor, read_config, read_facts, write_facts


@pytest.fixture
def folder(tmp_path: Path, mine: str) -> Path:
    """A team's folder with a method and what may lie beside it."""
    folder = tmp_path / "team"
    (folder / "nets").mkdir(parents=True)
    (folder / "method.py").write_text(mine)
    (folder / "blocks.py").write_text("shift = 0.0\n")
    (folder / "nets" / "unet.py").write_text("depth = 3\n")
    (folder / "notes.txt").write_text("not code")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "lib.py").write_text("")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "cached.py").write_text("")
    (folder / "link.py").symlink_to("/etc/hostname")
    return folder


CONFIG = EntryConfig(challenge="tiny", name="mine", method={"name": "method.py:Mine", "gain": 0.5})


def names(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())


def test_a_run_is_complete_before_work_begins(
    tmp_path: Path, challenge: Challenge, folder: Path
) -> None:
    place = Workspace(tmp_path / "workspace")
    run = storage.create(place, challenge, CONFIG, folder)
    assert run.path == tmp_path / "workspace" / "runs" / "tiny" / "mine"
    assert names(run.path) == [
        "config.yaml", "plugin/blocks.py", "plugin/method.py", "plugin/nets/unet.py", "run.json",
    ]  # fmt: skip
    config = read_config(run)
    assert config.method == {"name": "plugin/method.py:Mine", "gain": 0.5}
    assert config.train == CONFIG.train
    facts = read_facts(run)
    assert facts.challenge == MadeFor(name="tiny", hash=challenge.hash)
    assert facts.state == "started"
    assert {"toolkit", "torch", "deepinv"} == facts.versions.keys()
    assert list(json.loads(run.facts.read_text())) == [
        "format", "state", "challenge", "versions", "machine", "images", "started", "seconds",
    ]  # fmt: skip
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["mine"]


def test_an_existing_run_is_not_overwritten(
    tmp_path: Path, challenge: Challenge, folder: Path
) -> None:
    place = Workspace(tmp_path / "workspace")
    run = storage.create(place, challenge, CONFIG, folder)
    run.log.write_text("precious")
    with pytest.raises(UserError, match=r"mine: exists already; give `--resume`, `--force`"):
        storage.create(place, challenge, CONFIG, folder)
    assert storage.create(place, challenge, CONFIG, folder, resume=True) == run
    assert run.log.read_text() == "precious"
    assert storage.create(place, challenge, CONFIG, folder, force=True) == run
    assert not run.log.exists()
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["mine"]


def test_a_run_continues_only_as_itself(tmp_path: Path, challenge: Challenge, folder: Path) -> None:
    place = Workspace(tmp_path / "workspace")
    with pytest.raises(UserError, match="there is no such run to resume"):
        storage.create(place, challenge, CONFIG, folder, resume=True)
    run = storage.create(place, challenge, CONFIG, folder)
    # Its own config names the copy of the method; that is the same run.
    own = read_config(run)
    storage.create(place, challenge, own, run.path, resume=True)
    changed = CONFIG.model_copy(update={"seed": 1})
    with pytest.raises(UserError, match=r"config\.yaml: differs from the config"):
        storage.create(place, challenge, changed, folder, resume=True)
    (folder / "blocks.py").write_text("shift = 1.0\n")
    with pytest.raises(UserError, match="differs from the method's files"):
        storage.create(place, challenge, CONFIG, folder, resume=True)
    record = json.loads(run.facts.read_text())
    record["challenge"]["hash"] = "0" * 64
    run.facts.write_text(json.dumps(record))
    with pytest.raises(UserError, match="was trained for another preparation of `tiny`"):
        storage.create(place, challenge, own, run.path, resume=True)
    record["challenge"]["name"] = "other"
    run.facts.write_text(json.dumps(record))
    with pytest.raises(UserError, match="was trained for `other`, this is `tiny`"):
        storage.finished(run, challenge)


def test_a_failure_leaves_nothing(tmp_path: Path, challenge: Challenge, folder: Path) -> None:
    place = Workspace(tmp_path / "workspace")
    broken = CONFIG.model_copy(update={"method": {"name": "absent.py"}})
    with pytest.raises(UserError, match=r"absent\.py"):
        storage.create(place, challenge, broken, folder)
    for number in range(team_files.MOST):
        (folder / f"x{number}.py").touch()
    with pytest.raises(UserError, match="put the method into a folder of its own"):
        storage.create(place, challenge, CONFIG, folder)
    assert list((tmp_path / "workspace" / "runs" / "tiny").iterdir()) == []


class Tied(Method):
    """Two names for one tensor, and a view that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.two = self.one
        self.register_buffer("across", torch.arange(6.0).reshape(2, 3).T)

    def forward(self, y, physics):
        return y


def test_finish_saves_any_state(tmp_path: Path, challenge: Challenge, folder: Path) -> None:
    import safetensors.torch

    run = storage.create(Workspace(tmp_path), challenge, CONFIG, folder)
    with pytest.raises(UserError, match="is not finished; finish it with"):
        storage.finished(run, challenge)
    method = Tied()
    storage.finish(run, method, 2.0)
    loaded = safetensors.torch.load_file(run.weights)
    assert all(torch.equal(loaded[name], value) for name, value in method.state_dict().items())
    assert storage.finished(run, challenge).seconds == 2.0
    with pytest.raises(UserError, match="is finished already"):
        storage.create(Workspace(tmp_path), challenge, CONFIG, folder, resume=True)


def test_what_a_gpu_trained_is_finished_where_there_is_none(
    tmp_path: Path, challenge: Challenge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "peak_memory", lambda: {"peak_memory": 1})
    run = storage.create(Workspace(tmp_path), challenge, CONFIG, folder)
    record = read_facts(run)
    assert record.machine is not None
    there = record.machine.model_copy(update={"gpu": "a GPU elsewhere"})
    write_facts(run, record.model_copy(update={"machine": there, "peak_gpu_memory": 10**9}))
    storage.pause(run, 2.0)
    storage.finish(run, Tied(), 2.0)
    found = storage.finished(run, challenge)
    assert found.peak_gpu_memory == 10**9
    assert found.machine is not None
    assert found.machine.gpu == "a GPU elsewhere"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"state": "paused"},
        {"challenge": {"name": "tiny"}},
        {"seconds": None},
        {"versions": []},
        {"machine": {}},
    ],
)
def test_damaged_facts_are_one_line(make_run: Callable[..., Run], change: dict[str, Any]) -> None:
    run = make_run()
    record = json.loads(run.facts.read_text())
    run.facts.write_text(json.dumps(record | change))
    with pytest.raises(UserError, match=r"run\.json: is damaged; train the run again"):
        read_facts(run)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_what_are_no_facts_is_damaged(make_run: Callable[..., Run], content: bytes) -> None:
    run = make_run()
    run.facts.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json: is damaged; train the run again"):
        read_facts(run)


def test_load_a_run_and_an_entry(
    make_run: Callable[..., Run], make_entry: Callable[..., Path]
) -> None:
    y = torch.rand(1, 3, 8, 8)

    class Identity:
        def A_adjoint(self, y):
            return y

    for path in (make_run().path, make_entry()):
        method = load(path)
        assert not method.training
        assert torch.equal(method(y, Identity()), y)


def test_load_refuses(make_run: Callable[..., Run], make_entry: Callable[..., Path]) -> None:
    import safetensors.torch

    run, entry = make_run(), make_entry()
    with pytest.raises(UserError, match="is not a run; give a folder made by `challenge train`"):
        load(run.path.parent)
    entry.write_bytes(entry.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"alpha-mine\.zip: is cut off"):
        load(entry)
    safetensors.torch.save_file({"other": torch.zeros(1)}, run.weights)
    with pytest.raises(UserError, match=r"weights\.safetensors: does not fit the method"):
        load(run.path)
    run.weights.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        load(run.path)
    run.facts.write_text("{")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        load(run.path)


def test_only_what_float16_holds_exactly_is_stored_in_it() -> None:
    exact, inexact = torch.tensor([0.5, -3.25, 0.0]), torch.tensor([0.1, 0.5])
    assert storage._as_float16(exact).dtype == torch.float16
    assert storage._as_float16(inexact).dtype == torch.float32
    assert storage._as_float16(torch.tensor([float("nan")])).dtype == torch.float32
    assert storage._as_float16(torch.tensor([1e6])).dtype == torch.float32
    assert storage._as_float16(torch.tensor(0.5)).dtype == torch.float32
    assert storage._as_float16(torch.tensor([1, 2])).dtype == torch.int64
    assert torch.equal(storage._as_float16(exact).float(), exact)
