"""`challenge doctor`, and what the other commands say of the judge's machine."""

from __future__ import annotations

import functools
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from challenge.cli.shared import isolation_table
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.inference import speed, supervisor
from challenge.submissions.inference.speed import KERNELS, Speed, Timing
from challenge.submissions.jail import cgroup
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.probe.expected import Seen

TV = "workspace/runs/deblur/tv"
ENTRY = "workspace/entries/alpha-tv.zip"


def made(seconds: float, threads: int = 2) -> Speed:
    return Speed(
        threads=threads,
        machine=machine.describe(),
        torch=machine.versions()["torch"],
        measured="2026-10-01T12:00:00+00:00",
        kernels={name: Timing(seconds, 0.9 * seconds, 1.1 * seconds) for name in KERNELS},
    )


@pytest.fixture
def judge(story: Path):
    """Makes the judge's machine so many times as slow as this one."""
    place = Workspace(story / "workspace")
    here, there = layout.speed(place), layout.judge_speed(place)

    def make(factor: float) -> None:
        speed.store(here, made(1e-3))
        speed.store(there, made(factor * 1e-3))

    yield make
    here.unlink(missing_ok=True)
    there.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def attempts() -> Callable:
    """What fails in a level is tried once for all tests: it takes seconds."""
    return functools.cache(isolation_table.tried)


@pytest.fixture
def tried_once(monkeypatch: pytest.MonkeyPatch, attempts: Callable) -> None:
    monkeypatch.setattr(isolation_table, "tried", attempts)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tried_once: None) -> list[int]:
    """The thread counts that were measured, or pretended to be; torch is not asked."""
    counts: list[int] = []
    monkeypatch.setattr(speed, "has_bf16", lambda: (False, ""))

    def measure(threads: int) -> Speed:
        counts.append(threads)
        return made(1e-3, threads)

    monkeypatch.setattr(speed, "measure", measure)
    return counts


@pytest.fixture
def quick(story: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of the run whose inference is over at once: x_hat = y, without torch."""
    run = "workspace/runs/deblur/quick"
    shutil.copytree(story / TV, story / run)
    runner = Path(__file__).parents[1] / "submissions" / "echo_runner.py"
    monkeypatch.setattr(supervisor, "RUNNER", runner)
    yield run
    shutil.rmtree(story / run)


def test_nothing_is_said_of_an_unknown_judge(challenge: Callable, quick: str) -> None:
    done = challenge("infer", quick, "--json")
    assert json.loads(done.out)["forecast"] is None
    assert "on the judge" not in done.err
    assert "on the judge" not in challenge("pack", TV, "--team", "alpha").out


def test_nothing_is_said_where_this_machine_judges(
    challenge: Callable, judge, story, quick
) -> None:
    judge(1)
    layout.judge_speed(Workspace(story / "workspace")).unlink()
    done = challenge("infer", quick)
    assert "on the judge" not in done.out + done.err


def test_a_faster_judge_has_a_line_and_no_warning(challenge: Callable, judge, quick) -> None:
    judge(0.1)
    for command in (["infer", quick], ["pack", TV, "--team", "alpha"]):
        has_a_line_and_no_warning(challenge(*command))


@pytest.mark.slow
def test_a_dry_run_has_the_line_too(challenge: Callable, judge) -> None:
    judge(0.1)
    has_a_line_and_no_warning(challenge("check", ENTRY, "--run"))


def has_a_line_and_no_warning(done) -> None:
    assert done.code == 0, done.err
    (line,) = [each for each in done.out.splitlines() if each.startswith("on the judge")]
    assert line.endswith("of 20:00 min")
    assert "[" in line
    assert "exceed" not in done.err


def test_a_judge_that_is_too_slow_is_a_warning(challenge: Callable, judge, quick) -> None:
    """Start-up alone takes more than a tenth of a second here, more than 10,000 s there."""
    judge(100_000)
    done = challenge("infer", quick)
    assert done.err.count("warning: at this pace the test set takes") == 1
    assert "on the judge's machine, the limit is 20:00 min" in done.err
    assert "will exceed the limit" in done.err


def test_json_has_the_forecast(challenge: Callable, judge, quick) -> None:
    judge(10)
    found = json.loads(challenge("infer", quick, "--json").out)
    mean = sum(found["seconds"].values()) / len(found["seconds"])
    projected = found["start_up"] + 3 * mean
    assert found["forecast"]["expected"] == pytest.approx(10 * projected)
    assert found["forecast"]["low"] < found["forecast"]["expected"] < found["forecast"]["high"]


@pytest.mark.parametrize(
    ("factor", "texts"),
    [
        (0.1, ("on the judge  about 30.0 s [24.5, 36.7] of 20:00 min", "")),
        (1, ("on the judge  about 5:00 min [4:05, 6:06] of 20:00 min", "")),
        (0.25, ("on the judge  about 1:15 min [1:01, 1:31] of 20:00 min", "")),
        (0.2, ("on the judge  about 1:00 min [49.1 s, 1:13 min] of 20:00 min", "")),
        (3.9, ("about 19:30 min [15:57, 23:50]", "may exceed the limit: it takes 23:50 min")),
        (10, ("about 50:00 min [40:54, 61:06]", "will exceed the limit: it takes 40:54 min")),
    ],
)
def test_pack_foresees_by_the_stored_inference(challenge, story, judge, factor, texts) -> None:
    """Five minutes here, of twenty that are allowed."""
    judge(factor)
    path = layout.Run(story / TV).inference("val")
    before = path.read_text()
    record = {"outcome": "ok", "start_up": 3.0, "seconds": {"a": 99.0, "b": 99.0}}
    path.write_text(json.dumps(record))
    try:
        done = challenge("pack", TV, "--team", "alpha")
    finally:
        path.write_text(before)
    assert done.code == 0, done.err
    assert texts[0] in done.out
    assert texts[1] in done.err
    assert ("exceed" in done.err) == bool(texts[1])


def test_this_machine_is_measured_when_only_the_judge_is_known(
    challenge, story, judge, measured
) -> None:
    judge(2)
    layout.speed(Workspace(story / "workspace")).unlink()
    first, second = (challenge("pack", TV, "--team", "alpha") for _ in range(2))
    assert measured == [2]
    assert "measuring this machine's speed on 2 threads once" in first.err
    assert "measuring" not in second.err
    for done in (first, second):
        assert done.code == 0, done.err
        assert "on the judge  about" in done.out


def test_a_damaged_judge_names_the_remedy(challenge, story, judge) -> None:
    judge(1)
    layout.judge_speed(Workspace(story / "workspace")).write_text("{")
    done = challenge("infer", TV)
    assert done.code == 2
    assert "judge.json: is damaged; take it from a fresh kit" in done.err


@pytest.mark.slow
def test_calibrate_measures_what_the_challenges_are_judged_on(
    challenge, elsewhere, story, judge, measured, tmp_path
) -> None:
    assert challenge("doctor", "--calibrate").code == 0
    assert measured == [2]
    assert challenge("doctor", "--calibrate", "--threads", "5").code == 0
    assert measured == [2, 5]
    assert [each.threads for each in speed.read(layout.speed(Workspace(story / "workspace")))] == [
        2,
        5,
    ]
    # In an empty folder, what a challenge has by default.
    assert elsewhere("doctor", "--calibrate").code == 0
    assert measured == [2, 5, 2]
    assert [path.name for path in (tmp_path / "workspace").iterdir()] == ["speed.json"]


def test_a_busy_machine_is_told(elsewhere, measured, monkeypatch) -> None:
    busy = made(1e-3)
    slow = busy.kernels | {"fft": Timing(1e-3, 1e-3, 4e-3)}
    monkeypatch.setattr(speed, "measure", lambda threads: replace(busy, kernels=slow))
    assert "`fft` spreads by 300 %; close" in elsewhere("doctor", "--calibrate").err


@pytest.mark.parametrize("before", [False, True])
def test_a_disturbed_measurement_is_not_saved(
    elsewhere, measured, monkeypatch, tmp_path, before: bool
) -> None:
    """Nor is what was measured on a quiet machine lost."""
    path = layout.speed(Workspace(tmp_path / "workspace"))
    quiet = made(1e-3)
    if before:
        speed.store(path, quiet)
    disturbed = quiet.kernels | {"fft": Timing(1e-3, 1e-3, 27e-3)}
    monkeypatch.setattr(speed, "measure", lambda threads: replace(quiet, kernels=disturbed))
    done = elsewhere("doctor", "--calibrate")
    assert done.code == 1
    assert "`fft` spreads by 2600 %, so nothing was saved; close them" in done.err
    assert speed.read(path) == ((quiet,) if before else ())


def test_the_kit_hands_no_disturbed_speed_on(challenge, judge, story) -> None:
    """As an older toolkit may have saved it: neither by this kit, nor to a forecast."""
    judge(3)
    place = Workspace(story / "workspace")
    path = layout.judge_speed(place)
    stored = json.loads(path.read_text())
    assert "judge.json" in kit_names(challenge, story)
    stored["speeds"][0]["kernels"]["fft"]["high"] *= 100
    path.write_text(json.dumps(stored))
    assert "judge.json" not in kit_names(challenge, story)
    assert "does not say how fast" in challenge("kit", "deblur").err
    assert "on the judge" not in challenge("infer", TV).out


def kit_names(challenge, story: Path) -> set[str]:
    assert challenge("kit", "deblur").code == 0
    with zipfile.ZipFile(story / "workspace/deblur-kit.zip") as file:
        return {Path(name).name for name in file.namelist()}


def test_doctor_fits_80_columns(challenge, judge, measured) -> None:
    judge(3)
    done = challenge("doctor")
    assert done.code == 0, done.err
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80, done.out
    for text in (
        "Python",
        "torch",
        "deepinv",
        "processor",
        "usable",
        "bfloat16",
        "control group",
        "free in",
    ):
        assert text in done.out
    assert "an image takes 3.00 [2.45, 3.67] times as long on the judge's" in done.out


def test_doctor_says_what_was_not_measured(elsewhere, measured, tmp_path) -> None:
    done = elsewhere("doctor")
    assert done.code == 0
    assert "`challenge doctor --calibrate`" in done.err
    assert list(tmp_path.iterdir()) == []
    refused = elsewhere("doctor", "--threads", "2")
    assert refused.code == 2
    assert "--calibrate" in refused.err


def test_doctor_survives_a_broken_torch(elsewhere, monkeypatch, tried_once) -> None:
    monkeypatch.setattr(speed, "has_bf16", lambda: (False, "ImportError: libgomp"))
    done = elsewhere("doctor")
    assert done.code == 0
    assert "broken: ImportError: libgomp" in done.out
    assert done.out.startswith("not ready to judge or to train: torch does not work here: Import")
    assert json.loads(elsewhere("doctor", "--json").out)["bf16"] is None


def test_doctor_for_a_program(challenge, judge, story, tried_once) -> None:
    judge(3)
    found = json.loads(challenge("doctor", "--json").out)
    assert found["versions"]["torch"] == machine.versions()["torch"]
    assert 1 <= found["usable_cores"] <= found["cores"]
    assert isinstance(found["bf16"], bool)
    with cgroup.group() as group:
        assert (found["control_group"] is None) == (group is None)
    assert found["speed"][0]["threads"] == found["judge"][0]["threads"] == 2
    assert found["judge"][0]["kernels"]["fft"]["seconds"] == pytest.approx(3e-3)


def test_the_kit_says_what_it_lacks(challenge, judge) -> None:
    assert "challenge doctor --calibrate" in challenge("kit", "deblur").err
    judge(1)
    assert "doctor" not in challenge("kit", "deblur").err


@pytest.mark.parametrize(
    ("level", "attempts", "fails", "said"),
    [
        (
            "bubblewrap",
            34,
            "",
            "ready to judge entries: `bubblewrap` holds, 34 of 34 attempts ended",
        ),
        ("landlock", 33, "", "ready to judge entries: `landlock` holds, 33 of 33 attempts ended"),
        ("process", 9, "", "not ready to judge entries of strangers: only `process` holds here"),
        ("landlock", 33, "it leaks", "not ready to judge: `landlock` does not hold here: it leaks"),
    ],
)
def test_the_verdict_comes_first(elsewhere, monkeypatch, level, attempts, fails, said) -> None:
    """Then what the machine has; attempts that ended as promised are behind `--all`."""
    monkeypatch.setattr(speed, "has_bf16", lambda: (True, ""))
    good = Seen("read a file outside", stopped=True, happened=False, said="")
    leak = Seen("send by UDP", stopped=True, happened=True, said="")
    seen = [good] * (attempts - 1) + [leak if fails else good]
    found = {"level": level, "fails": fails, "attempts": seen}
    monkeypatch.setattr(isolation_table, "tried", lambda _: found)
    done, every = elsewhere("doctor"), elsewhere("doctor", "--all")
    assert done.code == every.code == bool(fails)
    assert done.out.splitlines()[0].startswith(said) and every.out.startswith(said)
    assert "read a file outside" not in done.out
    assert every.out.count("read a file outside") == attempts - bool(fails)
    assert ("send by UDP" in done.out) == bool(fails), "what failed is always shown"


def test_help_has_an_example(challenge) -> None:
    done = challenge("doctor", "--help")
    assert "Example: challenge doctor --calibrate" in " ".join(done.out.split())


def test_doctor_shows_what_fails_in_a_level(elsewhere, monkeypatch) -> None:
    """A jail that leaks, one that cannot be made, and torch that hangs in it: never a traceback."""
    monkeypatch.setattr(speed, "has_bf16", lambda: (True, ""))
    leak = Seen("read a file outside", stopped=True, happened=True, said="9 bytes")
    works = Seen("compute in a thread", stopped=False, happened=True, said="")
    monkeypatch.setattr(probe, "available", lambda level: "")
    monkeypatch.setattr(probe, "works", lambda level: "it leaks" if level == "landlock" else "")
    monkeypatch.setattr(probe, "attempts", lambda jail: [works, leak])
    monkeypatch.setattr(probe, "long_attempts", lambda jail: [])
    monkeypatch.setattr(probe, "computing", lambda jail, limits: [])
    done = elsewhere("doctor", "--isolation", "landlock")
    assert done.code == 1
    assert "NOT AS PROMISED, possible" in done.out
    assert "no: it leaks" in done.err

    def fail(*_: object) -> list[Seen]:
        raise OSError("it cannot be made")

    for part in ("computing", "attempts"):
        monkeypatch.setattr(probe, part, fail)
        done = elsewhere("doctor", "--isolation", "landlock")
        assert done.code == 1
        assert "landlock: it cannot be made" in done.err
    assert elsewhere("doctor", "--isolation", "dokcer").code == 2
