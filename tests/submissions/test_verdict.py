"""From a zip to a row of the board, with the hidden truth; and the team's own dry run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.data.challenge import Challenge
from challenge.data.layout import Hidden, Workspace
from challenge.submissions import board, judge, layout, results, trial, verdict
from challenge.submissions.jail import levels
from challenge.submissions.judge import Inference
from challenge.submissions.layout import Run
from challenge.submissions.metrics import psnr
from challenge.submissions.teams import Teams


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the workspace, for tests that write results."""
    shutil.copytree(workspace.path, tmp_path / "organiser")
    return Workspace(tmp_path / "organiser")


def court(place: Workspace, challenge: Challenge, teams: Teams | None = None) -> verdict.Court:
    return verdict.open_court(place, challenge, place.hidden("tiny"), teams, level="process")


def test_the_whole_way(
    make_entry: Callable[..., Path], place: Workspace, challenge: Challenge
) -> None:
    entry = make_entry()
    os.utime(entry, (1_700_000_000, 1_700_000_000))
    here = court(place, challenge)
    steps: list[judge.Step] = []
    result, fresh = verdict.verdict(here, entry, progress=steps.append)
    assert fresh
    assert result["outcome"] == "ok", result
    assert [step.id for step in steps] == challenge.ids("test")
    # The scores are those of the arrays against the hidden truth.
    judged = place.hidden("tiny").judged(f"alpha-mine-{result['entry']['hash'][:8]}")
    for image in result["images"]:
        x_hat = np.load(judged / f"{image['id']}.npy")
        truth = _truth(place.hidden("tiny"), image["id"])
        assert image["psnr"] == pytest.approx(psnr(estimate=x_hat, truth=truth), abs=1e-10)
        assert image["seconds"] > 0
    mean = np.mean([image["psnr"] for image in result["images"]])
    assert result["psnr"]["mean"] == pytest.approx(mean)
    assert {path.name for path in judged.glob("*.png")} == {
        "0001.png", "0002.png", "0003.png", "overview.png",
    }  # fmt: skip
    assert result["received"] == "2023-11-14T22:13:20+00:00"
    assert result["judge"]["isolation"] == levels.promises("process", sys.platform)
    assert result["judge"]["limits"]["minutes"] == 1
    assert result["judge"]["metric"] == {"name": "psnr-ssim", "version": 1, "crop": 0}
    (path,) = layout.results(place).glob("*.json")
    hashes = [result[part]["hash"][:16] for part in ("entry", "challenge", "judge")]
    assert path.name == "-".join(hashes) + ".json"
    # It stands: nothing is run again, wherever the zip lies and whatever its date.
    copy = entry.with_name("copy.zip")
    shutil.copy(entry, copy)
    stood, fresh = verdict.verdict(here, copy, progress=lambda _: pytest.fail("ran again"))
    assert not fresh
    assert stood == {"format": 1, **result}
    # Another judge is another verdict; the entry was received when it was.
    limits = challenge.config.limits.model_copy(update={"threads": 2})
    parts = results.judge_parts({}, {}, {}, limits)
    assert (
        results.find(place, result["entry"]["hash"], challenge.hash, results.hash_of(parts)) is None
    )
    assert results.received(place, copy, result["entry"]["hash"]) == "2023-11-14T22:13:20+00:00"
    (row,) = board.rows(results.read_all(place), challenge.config.rules, None, challenge.hash)
    assert (row.rank, row.team, row.name, row.practice) == (1, "alpha", "mine", True)
    assert row.psnr == result["psnr"]["mean"]


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
    monkeypatch.setattr(judge, "infer", lambda *_, **__: FAILED)
    result, _ = verdict.verdict(court(place, challenge), make_entry())
    assert (result["outcome"], result["psnr"], result["log"]) == ("crash", None, "log")
    (row,) = board.rows([result], challenge.config.rules)
    assert (row.rank, row.outcome) == (None, "crash")


def test_a_fault_of_ours_is_no_verdict(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> Inference:
        raise judge.Fault("the disk")

    monkeypatch.setattr(judge, "infer", fail)
    with pytest.raises(judge.Fault):
        verdict.verdict(court(place, challenge), make_entry())
    assert results.read_all(place) == []


def test_a_refusal_is_looked_at_again(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = make_entry()
    teams = Teams.model_validate({"teams": {"beta": {}}})
    result, _ = verdict.verdict(court(place, challenge, teams), entry)
    assert result["outcome"] == "invalid_entry"
    assert "there is no team `alpha`" in result["cause"]
    assert result["problems"][0]["remedy"] == "teams: beta"
    monkeypatch.setattr(judge, "infer", lambda *_, **__: FAILED)
    result, fresh = verdict.verdict(court(place, challenge), entry)
    assert (result["outcome"], fresh) == ("crash", True)
    assert len(results.read_all(place)) == 1


def test_what_is_no_zip_has_a_result(place: Workspace, challenge: Challenge) -> None:
    path = place.path / "alpha-broken.zip"
    path.write_bytes(b"nothing")
    result, _ = verdict.verdict(court(place, challenge), path)
    assert (result["outcome"], result["entry"]["name"]) == ("invalid_entry", "alpha-broken")
    with pytest.raises(UserError, match="there is no such entry"):
        verdict.verdict(court(place, challenge), path.with_name("absent.zip"))


def test_a_changed_truth_is_not_judged_against(place: Workspace, challenge: Challenge) -> None:
    image = place.hidden("tiny").image("0002")
    shutil.copy(place.hidden("tiny").image("0001"), image)
    with pytest.raises(UserError, match=r"0002\.png: was changed"):
        court(place, challenge)


def test_a_damaged_result_is_named(place: Workspace) -> None:
    path = layout.result(place, "a" * 16, "b" * 16, "c" * 16)
    path.parent.mkdir()
    for content in ("{", "[]", json.dumps({"format": 1}), json.dumps({"format": 2})):
        path.write_text(content)
        with pytest.raises(UserError, match="is no result of this toolkit, or damaged"):
            results.read_all(place)


def test_infer_and_score_a_run(make_run: Callable[..., Run], challenge: Challenge) -> None:
    run = make_run()
    with pytest.raises(UserError, match="there is no reconstruction; reconstruct with"):
        trial.score_run(run, challenge)
    stale = run.reconstructions("val") / "stale.npy"
    stale.parent.mkdir(parents=True)
    stale.touch()
    steps: list[judge.Step] = []
    found = trial.infer_run(run, challenge, progress=steps.append)
    assert found.outcome == "ok", found
    assert [step.id for step in steps] == challenge.ids("val")
    # Two images were done; the projection is for the three of the test set.
    assert steps[-1].projected > found.total
    folder = run.reconstructions("val")
    expected = {"overview.png", "inference.json"}
    expected |= {f"{each}.{kind}" for each in challenge.ids("val") for kind in ("npy", "png")}
    assert {path.name for path in folder.iterdir()} == expected
    scores = trial.score_run(run, challenge)
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
    monkeypatch.setattr(judge, "infer", lambda *_, **__: FAILED)
    found = trial.try_entry(make_entry(), challenge)
    assert (found.inference.outcome, found.scores) == ("crash", None)
