"""An organiser's rules as the commands know them: amended, edited by hand, of another age."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Public, Workspace
from challenge.submissions import layout
from challenge.submissions.inference import supervisor
from challenge.submissions.inference.supervisor import Inference
from challenge.submissions.judging import load
from challenge.submissions.judging.load import Load

ENTRY = "workspace/entries/alpha-tv.zip"
HIDDEN = ["--hidden", "workspace/hidden/deblur"]
RULES = "workspace/public/deblur/rules.yaml"


@pytest.fixture
def organiser(story: Path, tmp_path: Path, call: Callable) -> Callable:
    """Call the command line in a copy of the story's folder: prepared, judged, to be changed."""
    shutil.copytree(story / "workspace", tmp_path / "workspace")
    return lambda *arguments: call(tmp_path, *arguments)


def board(organiser: Callable, *options: str) -> dict:
    done = organiser("board", "--json", *options)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_deadline_is_moved_to_and_fro_and_every_move_is_on_the_board(organiser) -> None:
    """Entries and verdicts stay; what counts follows."""
    rows = board(organiser)["rows"]
    assert [(row["rank"], row["counts"]) for row in rows] == [(1, True)]
    for deadline, counts in (("2026-01-01T00:00:00Z", False), ("2096-01-01T00:00:00Z", True)):
        done = organiser("amend", "deblur", f"rules.deadline={deadline}")
        assert done.code == 0, done.err
        assert RULES in done.out
        assert "no verdict changes" in done.out
        assert ("this deadline has passed" in done.err) is not counts
        assert "ok" in organiser("check", ENTRY).out
        shown = organiser("board")
        assert ("does not count: alpha tv, received" in shown.err) is not counts
        assert ("after the deadline" in shown.err) is not counts
        (row,) = board(organiser)["rows"]
        assert row["counts"] == counts
        assert "the verdict stands" in organiser("score", ENTRY, *HIDDEN).err
    found = board(organiser)
    assert [each["key"] for each in found["changes"]] == ["rules.deadline"] * 2
    assert "rules.deadline: none -> 2026-01-01 00:00 UTC" in shown.err
    assert "rules.deadline: 2026-01-01 00:00 UTC -> 2096-01-01 00:00 UTC" in shown.err
    assert "of each team its latest valid entry counts" in shown.err
    assert found["rules_digest"][:16] in shown.err
    every = organiser("amend", "deblur").out
    values = [re.match(r"(?:rules|limits)\.\w+ +", line) for line in every.splitlines()]
    assert len({match.end() for match in values if match}) == 1, "the values are one column"
    assert "rules.deadline         2096-01-01 00:00 UTC" in every
    assert every.count("rules.deadline:") == 2
    assert max(map(len, every.splitlines())) <= 100


def test_other_limits_ask_for_other_verdicts(organiser) -> None:
    assert "score all entries again" in organiser("amend", "deblur", "limits.minutes=19").out
    assert "by other limits than hold now (all)" in organiser("board").err
    assert organiser("amend", "deblur", "limits.minutes=20").code == 0
    assert "by other limits" not in organiser("board").err


def test_other_packages_are_for_the_check_which_is_made_anew(organiser) -> None:
    assert "score them again" in organiser("amend", "deblur", "rules.packages=[einops]").out
    assert "by other rules of the check than hold now (all)" in organiser("board").err
    # Its verdict stands: it is as good by the new rules.
    assert "the verdict stands" in organiser("score", ENTRY, *HIDDEN).err
    assert "by other rules" not in organiser("board").err


def test_rules_edited_by_hand_are_applied_by_no_command(organiser, tmp_path: Path) -> None:
    path = tmp_path / RULES
    path.write_text(path.read_text().replace("deadline: null", "deadline: 2096-01-01T00:00:00Z"))
    for command in (
        ["board"],
        ["board", "--json"],
        ["check", ENTRY],
        ["score", ENTRY, *HIDDEN],
        ["pack", "workspace/runs/deblur/tv", "--team", "alpha"],
        ["kit", "deblur"],
        ["seal", "deblur"],
        ["amend", "deblur", "rules.counts=best"],
        ["amend", "deblur"],
        ["doctor", "--calibrate"],
    ):
        done = organiser(*command)
        assert done.code == 2, command
        (line,) = done.err.splitlines()
        assert "rules.yaml:10: `rules.deadline` was edited by hand, it holds as null" in line
    path.write_text(path.read_text().replace("deadline: 2096-01-01T00:00:00Z", "deadline: null"))
    assert organiser("board").code == 0


def test_a_change_taken_back_by_hand_is_told_where_the_hidden_folder_is(
    organiser, tmp_path: Path
) -> None:
    before = (tmp_path / RULES).read_bytes()
    assert organiser("amend", "deblur", "rules.counts=best").code == 0
    (tmp_path / RULES).write_bytes(before)
    for command in (["board"], ["score", ENTRY, *HIDDEN], ["seal", "deblur"], ["kit", "deblur"]):
        done = organiser(*command)
        assert done.code == 2, command
        assert "is older than the organiser's copy, 1 change on" in done.err
        remedy = "workspace/hidden/deblur/rules.yaml` over it"
        assert remedy in done.err
    shutil.copyfile(tmp_path / "workspace/hidden/deblur/rules.yaml", tmp_path / RULES)
    done = organiser("seal", "deblur")
    assert "the seal holds" in done.out
    assert "1 change on" in done.out


def test_a_challenge_of_an_older_toolkit_is_amended_and_judged(
    organiser, tmp_path: Path, to_format_2
) -> None:
    """Its rules stand in `challenge.yaml`, which stays; an edit there is told as well."""
    place = Workspace(tmp_path / "workspace")
    public = place.public("deblur")
    to_format_2(public, place.hidden("deblur"))
    packed = organiser("pack", "workspace/entries/alpha-tv.zip", "--team", "beta")
    assert packed.code == 0, packed.err
    assert "ok" in organiser("check", "workspace/entries/beta-tv.zip").out
    assert organiser("amend", "deblur", "rules.deadline=2026-01-01T00:00:00Z").code == 0
    assert "ok" in organiser("check", "workspace/entries/beta-tv.zip").out
    assert "the seal holds" in organiser("seal", "deblur").out
    public.config.write_text(public.config.read_text().replace("minutes: 20.0", "minutes: 30.0"))
    done = organiser("check", "workspace/entries/beta-tv.zip")
    assert done.code == 2
    assert "challenge.yaml: was changed since `prepare`; undo it; rules and limits" in done.err


def test_teams_are_told_by_which_rules_they_packed(organiser) -> None:
    """Their copy may be older than the organiser's, which they cannot see."""
    assert "rules" not in organiser("check", ENTRY).err
    organiser("amend", "deblur", "rules.deadline=2096-01-01T00:00:00Z")
    pack = ["pack", "workspace/runs/deblur/tv", "--team", "alpha"]
    for command in (["check", ENTRY, ENTRY], pack):
        done = organiser(*command)
        assert done.code == 0
        assert done.err.count("deadline 2096-01-01 00:00 UTC; a newer `rules.yaml`") == 1
    organiser("amend", "deblur", "rules.deadline=2026-01-01T00:00:00Z")
    for command in (["check", ENTRY], pack):
        done = organiser(*command)
        assert done.code == 0
        assert "warning: the deadline was 2026-01-01 00:00 UTC, by rules 2 changes" in done.err


def test_the_kit_carries_the_rules_that_hold(organiser, tmp_path: Path) -> None:
    """And a team that has an older kit takes the newer file in place of its own."""
    organiser("kit", "deblur")
    kit = tmp_path / "workspace/deblur-kit.zip"
    shutil.unpack_archive(kit, tmp_path / "team")
    organiser("amend", "deblur", "rules.deadline=2096-01-01T00:00:00Z")
    theirs = Public(tmp_path / "team/deblur-kit/workspace/public/deblur")
    assert open_challenge(theirs.path).standing.version == "as published"
    shutil.copyfile(tmp_path / RULES, theirs.rules)
    assert open_challenge(theirs.path).config.rules.deadline == datetime(2096, 1, 1, tzinfo=UTC)
    organiser("kit", "deblur")
    shutil.unpack_archive(kit, tmp_path / "new")
    newer = tmp_path / "new/deblur-kit"
    path = newer / "workspace/public/deblur/rules.yaml"
    assert path.read_bytes() == theirs.rules.read_bytes()
    page = (newer / "README.md").read_text()
    assert "| deadline | 2096-01-01 00:00 UTC |" in page
    assert "| which of a team's valid entries counts | its latest |" in page
    assert "Version of these rules: 1 change on 20" in page
    older = (tmp_path / "team/deblur-kit/README.md").read_text()
    assert "Version of these rules: as published." in older


def test_baselines_need_no_line_in_the_list_of_teams(organiser, tmp_path: Path) -> None:
    listed = tmp_path / "workspace/teams.yaml"
    listed.write_text("teams:\n  alpha: {members: [Ada]}\n")
    done = organiser("pack", "unet", "--team", "baseline")
    assert done.code == 0, done.err
    assert "ok" in organiser("check", "workspace/entries/baseline-unet.zip").out
    refused = organiser("pack", "unet", "--team", "beta")
    assert refused.code == 2
    assert "there is no team `beta`" in refused.err
    listed.write_text("teams:\n  alpha: {members: [Ada]}\n  baseline: {}\n")
    refused = organiser("board")
    assert refused.code == 2
    assert "`teams` may not name a team `baseline`" in refused.err
    listed.write_text("teams:\n  alpha: {members: [Ada]}\n")
    assert organiser("board").code == 0


def test_dates_and_names_that_cannot_be_true_are_warned_of(organiser, tmp_path: Path) -> None:
    place = Workspace(tmp_path / "workspace")
    layout.received(place).unlink()
    for path in layout.results(place).glob("*.json"):
        path.unlink()
    (tmp_path / "workspace/teams.yaml").write_text("teams:\n  alpha: {}\n  beta: {}\n")
    copy = tmp_path / "workspace/entries/beta-copy.zip"
    shutil.copyfile(tmp_path / ENTRY, copy)
    os.utime(copy, (0, 0))
    done = organiser("check", "workspace/entries/beta-copy.zip")
    assert done.code == 0
    assert "before the challenge was prepared; it counts as received now" in done.err
    assert "says that it is of team `alpha`, and is named after `beta`" in done.err
    (line,) = layout.received(place).read_text().splitlines()
    seen = datetime.fromisoformat(json.loads(line)["received"])
    assert timedelta(0) <= datetime.now(UTC) - seen < timedelta(minutes=5)
    # Once: it was seen. And the original is the same bytes.
    again = organiser("check", "workspace/entries/beta-copy.zip", ENTRY)
    assert "counts as received now" not in again.err
    assert len(layout.received(place).read_text().splitlines()) == 1


def test_what_timed_out_on_a_busy_machine_is_judged_again_when_it_is_quiet(
    organiser, monkeypatch, tmp_path: Path
) -> None:
    """By the flag alone, and no verdict that is not in doubt."""
    shares, calls = [0.0, 0.6], []

    def infer(entry, sources, output, *others, **options) -> Inference:
        calls.append(entry)
        for source in () if late else sources:
            np.save(output / f"{source.stem}.npy", np.zeros((3, 64, 64), np.float32))
        seconds = dict.fromkeys((each.stem for each in sources), 1.0)
        how = ("timeout", "the limit came", {}) if late else ("ok", "", seconds)
        return Inference(*how, 1.0, 5.0, 4.0, 10**8, "")

    monkeypatch.setattr(supervisor, "infer", infer)
    monkeypatch.setattr(
        load.Meter,
        "read",
        lambda self, entry=0.0: Load(cores=2, foreign=shares[len(shares) > 1 and bool(calls)]),
    )
    late = True
    first = organiser("score", ENTRY, *HIDDEN, "--rejudge")
    assert "in doubt: other programs took 60% of its cores" in first.err
    assert "while other programs took 60% of its cores" in organiser("board").err
    late = False
    stands = organiser("score", ENTRY, *HIDDEN)
    assert "the verdict stands, though it failed by the clock" in stands.err
    shares = [0.6]
    busy = organiser("score", ENTRY, *HIDDEN, "--rejudge-timeouts")
    assert "warning: other programs take 60% of the cores" in busy.err
    assert "nothing that timed out is judged again now" in busy.err
    assert len(calls) == 1
    shares = [0.0]
    quiet = organiser("score", ENTRY, *HIDDEN, "--rejudge-timeouts")
    assert quiet.code == 0
    assert len(calls) == 2
    assert [row["outcome"] for row in board(organiser)["rows"]] == ["ok"]
    organiser("score", ENTRY, *HIDDEN, "--rejudge-timeouts")
    assert len(calls) == 2
    (kept,) = [
        json.loads(path.read_text())
        for path in layout.history(Workspace(tmp_path / "workspace")).iterdir()
        if "timeout" in path.read_text()
    ]
    assert kept["load"]["foreign"] == 0.6
