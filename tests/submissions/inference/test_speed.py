"""The laws of the forecast, the files of speeds, and the kit that carries the judge's."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.entries.kit import make_kit
from challenge.submissions.inference import kernel_times, speed
from challenge.submissions.inference.forecast import find_machines, forecast, image_ratio, measured
from challenge.submissions.inference.speed import BF16, KERNELS, Speed, Timing
from challenge.submissions.layout import Run

TIMES = st.floats(1e-5, 10)
SPREADS = st.floats(1, 3)


def timings(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Timing]]:
    timing = st.builds(lambda t, a, b: Timing(t, t / a, t * b), TIMES, SPREADS, SPREADS)
    return st.fixed_dictionaries({name: timing for name in names})


def made(kernels: dict[str, Timing], threads: int = 2) -> Speed:
    """A speed of this machine, made up."""
    return Speed(
        threads=threads,
        machine=machine.describe(),
        torch=machine.versions()["torch"],
        measured="2026-10-01T12:00:00+00:00",
        kernels=kernels,
    )


def plain(seconds: float = 1e-3, spread: float = 1.0, bf16: bool = False) -> Speed:
    names = (*KERNELS, *BF16) if bf16 else KERNELS
    return made({name: Timing(seconds, seconds / spread, seconds * spread) for name in names})


def scaled(which: Speed, factor: float, *names: str) -> Speed:
    """Every kernel, or some, `factor` times as slow."""
    slow = {
        name: Timing(each.seconds * factor, each.low * factor, each.high * factor)
        if not names or name in names
        else each
        for name, each in which.kernels.items()
    }
    return replace(which, kernels=slow)


SPEEDS = st.one_of(timings(KERNELS), timings((*KERNELS, *BF16))).map(made)
IMAGES = st.lists(st.floats(1e-3, 100), min_size=1, max_size=20)
PLANNED = st.integers(1, 1000)


@settings(deadline=None)
@given(st.floats(0, 100), IMAGES, PLANNED, SPEEDS, SPEEDS)
def test_the_interval_contains_what_is_expected(start_up, seconds, planned, local, judge):
    found = forecast(start_up, seconds, planned, local, judge)
    assert 0 <= found.low <= found.expected <= found.high


@settings(deadline=None)
@given(st.floats(0, 100), IMAGES, PLANNED, SPEEDS, SPEEDS, st.floats(0.01, 100))
def test_only_ratios_matter(start_up, seconds, planned, local, judge, factor):
    one = forecast(start_up, seconds, planned, local, judge)
    other = forecast(start_up, seconds, planned, scaled(local, factor), scaled(judge, factor))
    for field in ("expected", "low", "high"):
        assert getattr(other, field) == pytest.approx(getattr(one, field), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.floats(0, 100), st.floats(1e-3, 100), st.integers(2, 20), PLANNED, SPEEDS)
def test_identical_machines_and_images_are_exact(start_up, second, count, planned, local):
    found = forecast(start_up, [second] * count, planned, local, local)
    assert found.expected == pytest.approx(start_up + second * planned)
    quiet = plain()
    found = forecast(start_up, [second] * count, planned, quiet, quiet)
    assert found.low == pytest.approx(found.high) == pytest.approx(start_up + second * planned)


@settings(deadline=None)
@given(st.floats(0, 100), IMAGES, PLANNED, SPEEDS)
def test_on_the_same_machine_the_interval_has_the_projection(start_up, seconds, planned, local):
    found = forecast(start_up, seconds, planned, local, local)
    projection = start_up + planned * sum(seconds) / len(seconds)
    assert found.low <= projection * (1 + 1e-9)
    assert found.high >= projection * (1 - 1e-9)


@settings(deadline=None)
@given(IMAGES, PLANNED, SPEEDS, SPEEDS, st.floats(1, 10), st.sampled_from(KERNELS))
def test_a_slower_judge_is_never_faster(seconds, planned, local, judge, factor, name):
    before = forecast(2.0, seconds, planned, local, judge)
    after = forecast(2.0, seconds, planned, local, scaled(judge, factor, name))
    assert after.expected >= before.expected * (1 - 1e-9)
    assert after.low >= before.low * (1 - 1e-9)
    assert after.high >= before.high * (1 - 1e-9)


def test_a_judge_ten_times_as_slow_takes_ten_times_as_long() -> None:
    found = forecast(2.0, [1.0, 1.0], 100, plain(), scaled(plain(), 10))
    assert found.expected == pytest.approx(1020)


def test_start_up_takes_the_interpreters_ratio() -> None:
    judge = scaled(plain(), 3, "python")
    assert forecast(2.0, [1.0, 1.0], 10, plain(), judge).expected == pytest.approx(16)


def test_images_that_differ_and_are_few_widen_the_interval() -> None:
    def width(seconds: list[float]) -> float:
        found = forecast(0.0, seconds, 50, plain(), plain())
        return found.high - found.low

    assert width([1, 1, 1]) < width([0.9, 1, 1.1]) < width([0.5, 1, 1.5])
    assert width([0.5, 1.5] * 10) < width([0.5, 1.5])
    assert width([1.0]) > 0


@pytest.mark.parametrize("judge_has_it", [True, False])
def test_bfloat16_on_one_machine_only_is_in_the_interval(judge_has_it: bool) -> None:
    """`auto` computes in float32 on the other; bfloat16 takes a fifth of float32's time here."""
    have = scaled(plain(bf16=True), 0.2, *BF16)
    local, judge = (plain(), have) if judge_has_it else (have, plain())
    found = image_ratio(local, judge)
    assert (found.low, found.high) == pytest.approx((0.2, 1) if judge_has_it else (1, 5))
    assert found.low < found.expected < found.high


def test_a_file_gives_back_what_was_stored(tmp_path: Path) -> None:
    path = layout.speed(Workspace(tmp_path / "new"))
    one, two = made(plain().kernels, 1), plain(2e-3, 1.5, bf16=True)
    assert speed.read(path) == ()
    speed.store(path, two)
    speed.store(path, one)
    assert speed.read(path) == (one, two)
    assert speed.find(path, 2) == two
    assert speed.find(path, 3) is None
    speed.store(path, scaled(two, 2))
    assert speed.find(path, 2) == scaled(two, 2)
    assert speed.find(path, 2).bf16 and not one.bf16  # type: ignore[union-attr]


def test_what_is_of_another_machine_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    elsewhere = replace(plain(), machine=machine.describe() | {"processor": "another"}, threads=1)
    assert plain().is_here
    assert not elsewhere.is_here
    assert not replace(plain(), torch="0.1").is_here
    atomic.write_json(path, {"format": speed.FORMAT, "speeds": speed.to_json([elsewhere])})
    speed.store(path, plain())
    assert speed.read(path) == (plain(),)


def _set(*keys: Any, to: Any) -> Callable[[Any], None]:
    def change(record: Any) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = to

    return change


DAMAGES = {
    "a negative time": _set("speeds", 0, "kernels", "fft", "seconds", to=-1.0),
    "a time that is no number": _set("speeds", 0, "kernels", "fft", "low", to="1e-3"),
    "infinity": _set("speeds", 0, "kernels", "fft", "high", to=float("inf")),
    "a median outside": _set("speeds", 0, "kernels", "fft", "low", to=1.0),
    "another kernel": _set("speeds", 0, "kernels", "matmul", to=dict(seconds=1, low=1, high=1)),
    "a kernel less": lambda record: record["speeds"][0]["kernels"].pop("fft"),
    "another field": _set("speeds", 0, "colour", to="red"),
    "another key": _set("colour", to="red"),
    "no threads": _set("speeds", 0, "threads", to=0),
    "threads in words": _set("speeds", 0, "threads", to="2"),
    "the same threads twice": lambda record: record["speeds"].append(record["speeds"][0]),
    "no list": _set("speeds", to=None),
    "no format": lambda record: record.pop("format"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_a_line_with_a_remedy(tmp_path: Path, damage: Callable[[Any], None]):
    path = tmp_path / "speed.json"
    speed.store(path, plain())
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="is damaged") as error:
        speed.read(path)
    assert "challenge doctor --calibrate" in str(error.value)
    speed.store(path, plain())
    assert speed.read(path) == (plain(),)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "\x00", '{"format": "new"'])
def test_rubbish_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "speed.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        speed.read(path)


def test_another_format_says_to_measure_again(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text('{"format": 99, "anything": 1}')
    with pytest.raises(UserError, match="has format `99`, this toolkit reads format `1`") as error:
        speed.read(path)
    assert "challenge doctor --calibrate" in str(error.value)


def test_the_judge_in_the_organisers_workspace_is_this_machine(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    speed.store(layout.speed(place), plain())
    assert find_machines(place, 2, pytest.fail) is None


def test_this_machine_is_measured_once_where_the_judge_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, said = Workspace(tmp_path), list[str]()
    monkeypatch.setattr(speed, "measure", lambda threads: made(plain().kernels, threads))
    speed.store(layout.judge_speed(place), scaled(plain(), 3))
    assert find_machines(place, 1, said.append) is None, "the judge was measured on 2 threads"
    for _ in range(2):
        found = find_machines(place, 2, said.append)
        assert found is not None
        assert (found.local, found.judge) == (plain(), scaled(plain(), 3))
    assert len(said) == 1
    assert "2 threads" in said[0]
    old = replace(plain(), torch="0.1")
    atomic.write_json(layout.speed(place), {"format": speed.FORMAT, "speeds": speed.to_json([old])})
    assert find_machines(place, 2, said.append) == found
    assert len(said) == 2


def test_a_machine_that_others_disturb_foresees_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, said = Workspace(tmp_path), list[str]()
    disturbed = plain()
    wide = replace(disturbed.kernels["fft"], high=disturbed.kernels["fft"].seconds * 30)
    disturbed = replace(disturbed, kernels={**disturbed.kernels, "fft": wide})
    monkeypatch.setattr(speed, "measure", lambda threads: disturbed)
    speed.store(layout.judge_speed(place), plain())
    assert find_machines(place, 2, said.append) is None
    assert "no forecast" in said[-1]
    assert not layout.speed(place).exists()


def test_a_run_is_foreseen_by_its_own_weights_only(make_run: Callable[..., Run]) -> None:
    import os

    run = make_run()
    assert measured(run) is None
    record = {"outcome": "ok", "start_up": 2.0, "seconds": {"a": 0.5, "b": 1}}
    atomic.write_json(run.inference("val"), record)
    assert measured(run) == (2.0, [0.5, 1.0])
    facts = run.inference("val").stat()
    os.utime(run.weights, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert measured(run) is None
    os.utime(run.weights, ns=(0, 0))
    for text in ("{", "[]", json.dumps(record | {"outcome": "timeout"}), json.dumps({})):
        run.inference("val").write_text(text)
        assert measured(run) is None


def test_the_kit_carries_the_judges_speed(challenge: Challenge, tmp_path: Path) -> None:
    place = Workspace(tmp_path / "organiser")
    with zipfile.ZipFile(make_kit(challenge, place)) as file:
        assert not [name for name in file.namelist() if name.endswith(("judge.json", "speed.json"))]
    speed.store(layout.speed(place), plain())
    with zipfile.ZipFile(make_kit(challenge, place)) as file:
        file.extractall(tmp_path)
    team = Workspace(tmp_path / "tiny-kit" / "workspace")
    assert speed.find(layout.judge_speed(team), 2) == plain()
    assert speed.read(layout.speed(team)) == ()


def test_a_kit_from_another_machine_carries_the_judges(challenge: Challenge, tmp_path: Path):
    """Its own speed is not the judge's where the judge's file was put beside it."""
    place = Workspace(tmp_path / "organiser")
    speed.store(layout.speed(place), plain())
    speed.store(layout.judge_speed(place), scaled(plain(), 3))
    with zipfile.ZipFile(make_kit(challenge, place)) as file:
        file.extractall(tmp_path)
    team = Workspace(tmp_path / "tiny-kit" / "workspace")
    assert speed.find(layout.judge_speed(team), 2) == scaled(plain(), 3)


def test_a_speed_that_others_disturbed_does_not_go_out(challenge: Challenge, tmp_path: Path):
    """Older toolkits stored what was measured on a busy machine."""
    place = Workspace(tmp_path)
    disturbed = plain(spread=30.0)
    assert not disturbed.usable
    for path in (layout.speed(place), layout.judge_speed(place)):
        record = {"format": speed.FORMAT, "speeds": speed.to_json([disturbed])}
        atomic.write_json(path, record)
        assert speed.read(path) == (disturbed,)
        with zipfile.ZipFile(make_kit(challenge, place)) as file:
            names = file.namelist()
        assert not [name for name in names if name.endswith(("judge.json", "speed.json"))]


def test_a_damaged_speed_does_not_go_out(challenge: Challenge, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    layout.speed(place).write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        make_kit(challenge, place)
    assert not layout.kit(place, "tiny").exists()


def test_who_measures_stays_free_of_torch() -> None:
    code = "import sys, challenge.submissions.inference.forecast; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "deepinv", "scipy", "matplotlib"}


def test_every_kernel_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and briefly, also those that this processor may not have."""
    import torch

    from challenge.methods.training import precision

    monkeypatch.setattr(kernel_times, "SECONDS", 0.0)
    monkeypatch.setattr(kernel_times, "SAMPLE", 1e-4)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    before = torch.get_num_threads()
    try:
        found = kernel_times.timings(1)
    finally:
        torch.set_num_threads(before)
    assert set(found) == {*KERNELS, *BF16}
    assert made({name: Timing(**each) for name, each in found.items()}).bf16


def test_a_measurement_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="failed: exit code 1"):
        speed.measure(1)
    assert speed.has_bf16()[1] == "exit code 1"


@pytest.mark.by_hand
def test_two_calibrations_agree_within_their_spread() -> None:
    """Of one thread; on a busy machine some attempt finds it quiet for ten seconds."""
    for _ in range(4):
        one, two = speed.measure(1), speed.measure(1)
        found = image_ratio(one, two)
        apart = [
            name
            for name in KERNELS
            if one.kernels[name].low > two.kernels[name].high
            or two.kernels[name].low > one.kernels[name].high
        ]
        if not apart and found.low <= 1 <= found.high:
            return
    pytest.fail(f"{apart}: {one} {two}")
