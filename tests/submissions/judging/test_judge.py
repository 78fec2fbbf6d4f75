"""From a zip to a row of the board, with the hidden truth; and the team's own dry run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.configs.schema.entry import EntryConfig
from challenge.data import noise
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.hashing import digest, digest_json
from challenge.data.layout import Hidden, Public, Workspace
from challenge.submissions import layout, machine
from challenge.submissions.entries.pack import repack
from challenge.submissions.entries.teams import Teams
from challenge.submissions.inference import supervisor
from challenge.submissions.inference.supervisor import Inference
from challenge.submissions.jail import levels, stage
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging import board, received, result_files, trial
from challenge.submissions.judging.judge import Judge, judge_entry, open_judge
from challenge.submissions.judging.result import Result
from challenge.submissions.layout import Run
from challenge.submissions.runs.train import train
from challenge.submissions.scoring import metrics
from challenge.submissions.scoring.metrics import psnr


def judge(place: Workspace, challenge: Challenge, teams: Teams | None = None) -> Judge:
    return open_judge(place, challenge, place.hidden("tiny"), teams, level="process")


def test_the_whole_way(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge
) -> None:
    entry = make_entry()
    here = judge(place, challenge)
    prepared = challenge.standing.prepared
    assert prepared is not None
    os.utime(entry, (prepared.timestamp(), prepared.timestamp()))
    steps: list[supervisor.Step] = []
    result, fresh = judge_entry(here, entry, progress=steps.append)
    assert fresh
    assert result.outcome == "ok", result
    assert [step.id for step in steps] == place.hidden("tiny").ids()
    # The scores are those of the arrays against the hidden truth.
    judged = place.hidden("tiny").judged(f"alpha-mine-{result.entry.hash}")
    for image in result.images:
        x_hat = np.load(judged / f"{image.id}.npy")
        truth = _truth(place.hidden("tiny"), image.id)
        assert image.psnr == pytest.approx(psnr(estimate=x_hat, truth=truth), abs=1e-10)
        assert image.seconds > 0
    mean = np.mean([image.psnr for image in result.images])
    assert result.psnr.mean == pytest.approx(mean)
    assert {path.name for path in judged.glob("*.png")} == {
        "0001.png", "0002.png", "0003.png", "overview.png",
    }  # fmt: skip
    assert result.received == prepared.isoformat()
    assert result.load is not None
    assert 0 <= result.load.foreign <= 1
    assert result.judge.isolation == levels.promises("process", sys.platform)
    assert result.judge.limits["minutes"] == 1
    assert result.judge.metric == {"name": "psnr-ssim", "version": 1, "crop": 0}
    (path,) = layout.results(place).glob("*.json")
    hashes = [result.entry.hash, result.challenge.hash[:16], result.judge.hash[:16]]
    assert path.name == "-".join(hashes) + ".json"
    assert list(json.loads(path.read_text())) == [
        "format", "entry", "challenge", "judge", "machine", "versions", "received", "judged_at",
        "outcome", "cause", "problems", "psnr", "ssim", "seconds", "memory", "images", "log",
        "repeat", "rules", "load",
    ]  # fmt: skip
    # It stands: nothing is run again, wherever the zip lies and whatever its date.
    copy = entry.with_name("copy.zip")
    shutil.copy(entry, copy)
    stood, fresh = judge_entry(here, copy, progress=lambda _: pytest.fail("ran again"))
    assert not fresh
    assert stood == result
    # Another judge is another verdict; the entry was received when it was.
    limits = challenge.config.limits.model_copy(update={"threads": 2})
    parts = result_files.judge_parts({}, {}, {}, limits)
    assert result_files.find(place, result.entry.hash, challenge.hash, digest_json(parts)) is None
    assert received.see(place, copy).received == prepared.isoformat()
    (row,) = board.rows(result_files.read_all(place), challenge.config.rules, None, challenge.hash)
    assert (row.rank, row.team, row.name, row.practice) == (1, "alpha", "mine", True)
    assert row.psnr == result.psnr.mean


def _truth(hidden: Hidden, identity: str) -> np.ndarray:
    from PIL import Image

    with Image.open(hidden.image(identity)) as image:
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)
    return pixels / np.float32(255)


FAILED = Inference("crash", "ValueError: no (on image `0001`, 1 of 3)", {}, 1.0, 2.0, 1.0, 9, "log")


def test_a_failed_entry_has_a_result_too(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "infer", lambda *_, **__: FAILED)
    result, _ = judge_entry(judge(place, challenge), make_entry())
    assert (result.outcome, result.psnr, result.log) == ("crash", None, "log")
    (row,) = board.rows([result], challenge.config.rules)
    assert (row.rank, row.outcome) == (None, "crash")


def test_a_fault_of_ours_is_no_verdict(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> Inference:
        raise supervisor.JudgeFault("the disk")

    monkeypatch.setattr(supervisor, "infer", fail)
    with pytest.raises(supervisor.JudgeFault):
        judge_entry(judge(place, challenge), make_entry())
    assert result_files.read_all(place) == []


def test_a_refusal_is_looked_at_again(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = make_entry()
    teams = Teams.model_validate({"teams": {"beta": {}}})
    result, _ = judge_entry(judge(place, challenge, teams), entry)
    assert result.outcome == "invalid_entry"
    assert "there is no team `alpha`" in result.cause
    assert list(result.to_json())[8:] == ["outcome", "cause", "problems", "images", "rules"]
    assert result.problems[0].remedy == "teams: beta"
    monkeypatch.setattr(supervisor, "infer", lambda *_, **__: FAILED)
    result, fresh = judge_entry(judge(place, challenge), entry)
    assert (result.outcome, fresh) == ("crash", True)
    assert len(result_files.read_all(place)) == 1


def test_what_is_no_zip_has_a_result(place: Workspace, challenge: Challenge) -> None:
    path = place.path / "alpha-broken.zip"
    path.write_bytes(b"nothing")
    result, _ = judge_entry(judge(place, challenge), path)
    assert (result.outcome, result.entry.name) == ("invalid_entry", "alpha-broken")
    with pytest.raises(UserError, match="does not exist"):
        judge_entry(judge(place, challenge), path.with_name("absent.zip"))


def test_a_changed_truth_is_not_judged_against(place: Workspace, challenge: Challenge) -> None:
    image = place.hidden("tiny").image("0002")
    shutil.copy(place.hidden("tiny").image("0001"), image)
    with pytest.raises(UserError, match=r"0002\.png: was changed"):
        judge(place, challenge)


def test_a_changed_measurement_is_not_judged_with(place: Workspace, challenge: Challenge) -> None:
    hidden = place.hidden("tiny")
    shutil.copy(hidden.measurement("0001"), hidden.measurement("0002"))
    with pytest.raises(UserError, match=r"0002\.npz: was changed"):
        judge(place, challenge)


@pytest.mark.slow
def test_where_measurements_lie_does_not_matter(
    make_entry: Callable[..., Path],
    place: Workspace,
    tmp_path: Path,
    to_format_1: Callable[[Public, Hidden], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hidden, published or of an older toolkit: the same reconstructions, scores and rank."""
    published, older = Workspace(tmp_path / "published"), Workspace(tmp_path / "older")
    shutil.copytree(place.path, older.path)
    to_format_1(older.public("tiny"), older.hidden("tiny"))
    rule = ["rules.test_measurements=published"]
    config, source = load_challenge(str(place.path / "tiny.yaml"), rule)
    monkeypatch.setattr(noise, "secret_key", place.hidden("tiny").key.read_bytes)
    prepare(config, source, published, progress=lambda *_: None, notice=lambda _: None)
    entry, found = of_mode(make_entry, "plain"), []
    for where in (place, published, older):
        opened = open_challenge(where.public("tiny").path, verify=True)
        packed = layout.entry(where, "alpha", "mine")
        repack(entry, "alpha", packed, opened, None)
        result, _ = judge_entry(quick(where, opened, repeats=True), packed)
        assert result.outcome == "ok", result
        made = where.hidden("tiny").judged(result.entry.label)
        pixels = {path.name: path.read_bytes() for path in made.iterdir() if path.suffix == ".npy"}
        assert list(pixels) and len(list(made.glob("*.png"))) == 4
        scores = [(each.id, each.psnr, each.ssim) for each in result.images]
        (row,) = board.rows([result], opened.config.rules, None, opened.hash)
        found.append((pixels, scores, result.psnr, result.ssim, row.rank, row.psnr, row.ssim))
    assert found[0] == found[1] == found[2]


def test_an_older_challenge_is_trained_on_and_tried(
    place: Workspace,
    to_format_1: Callable[[Public, Hidden], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a team does before it hands in; the planned number of images is there, too."""
    to_format_1(place.public("tiny"), place.hidden("tiny"))
    told: list[int] = []

    def infer(*_: object, planned: int, **__: object) -> Inference:
        told.append(planned)
        return FAILED

    monkeypatch.setattr(supervisor, "infer", infer)
    opened = open_challenge(place.public("tiny").path)
    config = EntryConfig(challenge="tiny", name="wiener", method={"name": "wiener"})
    run = train(config.model_dump(mode="json"), workspace=place.path).run
    for split in ("val", "test"):
        assert trial.infer(run, opened, split=split).outcome == "crash"
    assert told == [3, 3]


def test_infer_refuses_hidden_measurements(
    make_run: Callable[..., Run], challenge: Challenge
) -> None:
    run = make_run()
    kept = run.reconstructions("test") / "kept.npy"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(UserError) as caught:
        trial.infer(run, challenge, split="test")
    assert str(caught.value) == (
        f"{challenge.path}: its test measurements are hidden; "
        "use val: the judge hands those of test to an entry"
    )
    assert kept.exists()


GOOD = Result.model_validate(
    {
        "entry": {"hash": "a" * 64, "team": "alpha", "name": "mine"},
        "challenge": {"name": "tiny", "hash": "b" * 64},
        "judge": {"hash": "c" * 64},
        "received": "2026-12-01T10:00:00+00:00",
        "judged_at": "2026-12-01T10:00:00+00:00",
        "outcome": "ok",
        "psnr": {"mean": 25.0, "low": None, "high": None},
        "ssim": {"mean": 0.8, "low": None, "high": None},
        "images": [{"id": "0001", "psnr": 25.0, "ssim": 0.8, "seconds": 1.0}],
    }
)


def test_a_damaged_result_is_named(place: Workspace) -> None:
    path = layout.result(place, "a" * 16, "b" * 16, "c" * 16)
    path.parent.mkdir()
    stored = GOOD.to_json()
    path.write_text(json.dumps(stored))
    assert result_files.read_all(place) == [GOOD]
    changes: list[dict[str, Any]] = [
        {"format": 2},
        {"foreign": 1},
        {"outcome": "fine"},
        {"psnr": None},
        {"images": [{"id": "0001"}]},
        {"received": None},
    ]
    damaged = [json.dumps(stored | change) for change in changes]
    for content in ("{", "[]", "\xff", json.dumps({"format": 1}), *damaged):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(UserError, match="is no result of this toolkit, or damaged"):
            result_files.read_all(place)


def test_infer_and_score_a_run(make_run: Callable[..., Run], challenge: Challenge) -> None:
    run = make_run()
    with pytest.raises(UserError, match="there is no reconstruction; reconstruct with"):
        trial.score(run, challenge)
    stale = run.reconstructions("val") / "stale.npy"
    stale.parent.mkdir(parents=True)
    stale.touch()
    steps: list[supervisor.Step] = []
    found = trial.infer(run, challenge, progress=steps.append)
    assert found.outcome == "ok", found
    assert [step.id for step in steps] == challenge.ids("val")
    # Two images were done; the projection is for the three of the test set.
    assert steps[-1].projected > found.total
    folder = run.reconstructions("val")
    expected = {"overview.png", "inference.json"}
    expected |= {f"{each}.{kind}" for each in challenge.ids("val") for kind in ("npy", "png")}
    assert {path.name for path in folder.iterdir()} == expected
    scores = trial.score(run, challenge)
    stored = json.loads(run.score("val").read_text())
    assert scores.psnr is not None
    assert stored["psnr"]["mean"] == scores.psnr.mean
    for image in scores.images:
        x_hat = np.load(folder / f"{image.id}.npy")
        truth = challenge.truth(image.id)
        assert image.psnr == pytest.approx(psnr(estimate=x_hat, truth=truth), abs=1e-10)


def test_a_dry_run_leaves_nothing(
    make_entry: Callable[..., Path], challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "infer", lambda *_, **__: FAILED)
    found = trial.try_entry(make_entry(), challenge)
    assert (found.inference.outcome, found.scores) == ("crash", None)


# --- judged again ---------------------------------------------------------------------------------

ECHO = Path(__file__).parents[1] / "echo_runner.py"
PLAIN = """
from challenge.methods.contract import Method
class Mine(Method):
    def __init__(self, *, mode: str = ""):
        super().__init__()
    def forward(self, y, physics):
        return y
"""


def quick(place: Workspace, challenge: Challenge, **options: Any) -> Judge:
    """A judge whose entries run without torch."""
    options = {"level": "process", "runner": ECHO, **options}
    return open_judge(place, challenge, place.hidden("tiny"), None, **options)


def of_mode(make_entry: Callable[..., Path], mode: str) -> Path:
    return make_entry(PLAIN, method={"name": "method.py:Mine", "mode": mode})


@pytest.mark.slow
def test_another_judge_gives_another_verdict(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A changed limit, isolation, toolkit, metric or repeat never shows a stale verdict."""
    entry = of_mode(make_entry, "plain")
    known = set()

    def judged(**options: Any) -> bool:
        result, fresh = judge_entry(quick(place, challenge, **options), entry)
        assert result.outcome == "ok", result
        known.add(result.judge.hash)
        assert judge_entry(quick(place, challenge, **options), entry)[1] is False
        return fresh

    assert judged()
    if not probe.works("landlock"):
        assert judged(level="landlock")
    assert judged(repeats=True)
    monkeypatch.setattr(stage, "digest", lambda: "another")
    assert judged()
    monkeypatch.undo()
    monkeypatch.setattr(machine, "versions", lambda: {"toolkit": "9", "torch": "1", "deepinv": ""})
    assert judged()
    monkeypatch.undo()
    monkeypatch.setattr(metrics, "DEFINITION", {"name": "other", "version": 2})
    assert judged()
    monkeypatch.undo()
    limits = challenge.config.limits.model_copy(update={"minutes": 2.0})
    config = challenge.config.model_copy(update={"limits": limits})
    monkeypatch.setattr(challenge, "config", config)
    assert judged()
    files = list(layout.results(place).glob("*.json"))
    assert len(files) == len(known)


def test_judged_anew_the_history_is_kept(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge
) -> None:
    judge, entry = quick(place, challenge), of_mode(make_entry, "plain")
    first, _ = judge_entry(judge, entry)
    assert not layout.history(place).exists()
    second, fresh = judge_entry(judge, entry, rejudge="all")
    assert fresh
    (path,) = layout.results(place).glob("*.json")
    assert result_files.read(path) == second
    (kept,) = layout.history(place).iterdir()
    assert result_files.read(kept) == first
    assert result_files.read_all(place) == [second]
    # Whoever was killed between the two writes leaves the history as it is.
    result_files.save(place, second)
    result_files.save(place, second)
    assert len(list(layout.history(place).iterdir())) in (1, 2)


@pytest.mark.parametrize(
    ("mode", "repeats", "outcome"),
    [
        ("plain", True, "ok"),
        ("drift", True, "nondeterministic"),
        ("drift", False, "ok"),
        ("order", True, "nondeterministic"),
        ("order", False, "ok"),
    ],
)
def test_some_images_again_in_another_order(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    mode: str,
    repeats: bool,
    outcome: str,
) -> None:
    judge = quick(place, challenge, repeats=repeats)
    result, _ = judge_entry(judge, of_mode(make_entry, mode))
    assert result.outcome == outcome, result
    if not repeats:
        assert result.repeat is None
        return
    # Two of the three images, the last one first.
    differences = result.repeat.differences
    assert list(differences) == ["0003", "0001"]
    assert result.repeat.tolerance == 1e-4
    if outcome == "ok":
        assert set(differences.values()) == {0.0}
        assert result.psnr.mean > 0
        return
    # The cause names the images and by how much they differ.
    for identity, size in differences.items():
        assert f"`{identity}` by {size:.2g}" in result.cause
    assert result.psnr is None
    if mode == "order":
        assert list(differences.values()) == pytest.approx([0.02, 0.02], abs=1e-6)


@pytest.mark.parametrize("mode", ["loses", "gains"])
def test_a_deviation_of_one_run_only_is_the_entrys_fault(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge, mode: str
) -> None:
    judge = quick(place, challenge, repeats=True)
    result, _ = judge_entry(judge, of_mode(make_entry, mode))
    assert (result.outcome, result.psnr) == ("nondeterministic", None)
    assert "a standard deviation came once only: `0003`, `0001`" in result.cause
    (path,) = layout.results(place).glob("*.json")
    assert result_files.read(path) == result


def test_a_deviation_is_calibrated_and_changes_no_score(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge
) -> None:
    judge = quick(place, challenge, repeats=True)
    plain, spread = (
        judge_entry(judge, of_mode(make_entry, mode))[0] for mode in ("plain", "spread")
    )
    assert (plain.outcome, spread.outcome) == ("ok", "ok")
    assert (spread.psnr, spread.ssim) == (plain.psnr, plain.ssim)
    assert plain.calibration is None and all(each.calibration is None for each in plain.images)
    known = [each.calibration for each in spread.images]
    assert spread.calibration.one == pytest.approx(sum(each.one for each in known) / len(known))
    assert 0 < spread.calibration.one <= spread.calibration.two <= 1
    path = max(layout.results(place).glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
    assert result_files.read(path) == spread


def test_a_second_run_that_fails_is_nondeterministic(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = supervisor.infer, []

    def infer(*arguments: Any, **options: Any) -> Inference:
        calls.append(arguments)
        return FAILED if len(calls) == 2 else real(*arguments, **options)

    monkeypatch.setattr(supervisor, "infer", infer)
    judge = quick(place, challenge, repeats=True)
    result, _ = judge_entry(judge, of_mode(make_entry, "plain"))
    assert result.outcome == "nondeterministic"
    assert result.cause.startswith("the second time it failed: crash: ValueError: no")


def test_one_at_a_time_judges_an_entry(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge
) -> None:
    """Two who judge the same entry at once: one judges, the other finds the verdict."""
    judge, entry = quick(place, challenge), of_mode(make_entry, "slow")
    found: list[bool] = []
    command = [sys.executable, str(Path(__file__).parent / "score_all.py"), str(place.path)]
    other = subprocess.Popen([*command, "1", "process", str(entry)], stdout=subprocess.PIPE)
    lock = layout.lock(place, digest(entry))
    while not lock.exists():
        assert other.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    found.append(judge_entry(judge, entry)[1])
    out, _ = other.communicate(timeout=60)
    # Neither disturbs the other: nobody sweeps away what somebody still writes.
    name, fresh, fault = out.decode().rstrip("\n").split(" ", 2)
    assert (name, fault) == (entry.name, "")
    found.append(fresh == "True")
    assert sorted(found) == [False, True]
    assert len(result_files.read_all(place)) == 1
    assert not layout.history(place).exists()


def test_the_dry_run_is_the_verdict(
    make_entry: Callable[..., Path], challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs some images again, too, at the strongest level that holds here."""
    entry = of_mode(make_entry, "order")
    jails: list[Jail] = []
    real = supervisor.infer

    def infer(*arguments: Any, **options: Any) -> Inference:
        jails.append(arguments[4])
        jail = replace(arguments[4], runner=ECHO)
        return real(*arguments[:4], jail, **options)

    monkeypatch.setattr(supervisor, "infer", infer)
    found = trial.try_entry(entry, challenge)
    assert found.inference.outcome == "nondeterministic", found
    assert found.level == probe.strongest() == jails[0].level
    # The workspace stays closed, wherever it lies.
    assert jails[0].protected == (challenge.path.resolve().parents[1],)
