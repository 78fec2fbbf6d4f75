"""Several entries at a time, and what is left when somebody dies."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.jail.probe import probe
from challenge.submissions.judging import board, pool, result_files
from challenge.submissions.judging.judge import Judge, open_judge
from tests.submissions.judging.echoed import entry_of

HERE = Path(__file__).parent
TWO_CORES = pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores")


@pytest.fixture
def judge(place: Workspace, challenge: Challenge) -> Judge:
    runner = HERE.parent / "echo_runner.py"
    hidden = place.hidden("tiny")
    return open_judge(place, challenge, hidden, None, level="process", runner=runner)


@pytest.mark.slow
@TWO_CORES
def test_two_workers_judge_what_one_judges(
    make_entry: Callable[..., Path], judge: Judge, place: Workspace
) -> None:
    entries = [entry_of(make_entry, name) for name in ("a", "b", "c")]
    steps: list[tuple[str, str]] = []
    found = list(
        pool.judge_all(
            judge,
            entries,
            workers=2,
            progress=lambda entry, step: steps.append((entry.stem, step.id)),
        )
    )
    assert sorted(each.entry for each in found) == entries
    assert all(each.fresh and not each.fault for each in found)
    assert sorted(steps) == [
        (f"alpha-{name}", identity) for name in "abc" for identity in judge.hidden.ids()
    ]
    assert len(result_files.read_all(place)) == 3
    again = list(pool.judge_all(judge, entries))
    assert [each.fresh for each in again] == [False] * 3
    by_hash = {each.result.entry.hash: each.result for each in found if each.result}
    for each in again:
        assert each.result is not None
        assert each.result == by_hash[each.result.entry.hash]


@TWO_CORES
def test_a_worker_that_dies_loses_nothing(
    make_entry: Callable[..., Path], judge: Judge, place: Workspace
) -> None:
    names = ("a", "assassin", "c")
    entries = [entry_of(make_entry, name) for name in names]
    before = psutil.Process().children(recursive=True)
    found = {each.entry.stem: each for each in pool.judge_all(judge, entries, workers=2)}
    assert found["alpha-a"].result and found["alpha-c"].result
    assert found["alpha-assassin"].result is None
    assert "ended 2 times" in found["alpha-assassin"].fault
    assert len(result_files.read_all(place)) == 2
    assert {*psutil.Process().children(recursive=True)} <= {*before}


def test_there_must_be_cores_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "core_numbers", lambda: [2, 3, 5, 7, 11])
    assert pool.shares(2, 2) == [{2, 3}, {5, 7}]
    assert pool.shares(5, 1) == [{2}, {3}, {5}, {7}, {11}]
    with pytest.raises(UserError, match="needs 6 cores, 2 for each entry; there are 5; at most 2"):
        pool.shares(3, 2)


@TWO_CORES
@pytest.mark.skipif(sys.platform != "linux", reason="workers are pinned on Linux only")
def test_workers_are_pinned_to_cores_of_their_own(
    make_entry: Callable[..., Path], judge: Judge
) -> None:
    entries = [entry_of(make_entry, name, "slow") for name in ("a", "b")]
    pinned: list[frozenset[int]] = []

    def look(*_: Any) -> None:
        pinned.extend(
            frozenset(child.cpu_affinity())
            for child in psutil.Process().children()
            if "challenge.submissions.judging.worker" in child.cmdline()
        )

    list(pool.judge_all(judge, entries, workers=2, progress=look))
    first, second = sorted(set(pinned), key=min)
    assert len(first) == len(second) == 1 and not first & second


def _board(place: Workspace, challenge: Challenge) -> list[dict[str, Any]]:
    from dataclasses import asdict

    rows = board.rows(
        result_files.read_all(place),
        challenge.config.rules.model_copy(update={"entries_per_day": 100}),
        None,
        challenge.hash,
        everything=True,
    )
    found = [{key: value for key, value in asdict(row).items() if key != "seconds"} for row in rows]
    return sorted(found, key=lambda row: row["name"])


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """A process with its descendants; nobody where it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.poll() is None:
            head = psutil.Process(process.pid)
            return [head, *head.children(recursive=True)]
    return []


def _running(temporary: Path) -> list[psutil.Process]:
    """The processes that have this folder for temporary files, or one inside it."""
    return [each for each in psutil.process_iter(["environ"]) if str(temporary) in str(each.info)]


@TWO_CORES
@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
@pytest.mark.parametrize(
    ("kills", "count"),
    [
        pytest.param(12, 8, marks=pytest.mark.slow),
        pytest.param(200, 10, marks=pytest.mark.by_hand),
    ],
)
def test_killed_at_any_moment_it_goes_on(
    make_entry: Callable[..., Path],
    place: Workspace,
    challenge: Challenge,
    tmp_path: Path,
    kills: int,
    count: int,
) -> None:
    """SIGKILL of whoever hands out, of a worker, of all, at random moments: the same board."""
    entries = [entry_of(make_entry, f"entry-{number}", "plain") for number in range(count)]
    shutil.copytree(place.path, place.path.with_name("undisturbed"))
    undisturbed = Workspace(place.path.with_name("undisturbed"))
    level = "landlock" if not probe.works("landlock") else "process"
    # Theirs alone: another scoring on this machine leaves its own files among the usual ones.
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def start(where: Workspace) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "score_all.py"), str(where.path), "2", level]
        return subprocess.Popen(
            [*command, *map(str, entries)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )

    began = time.monotonic()
    process = start(undisturbed)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    whole = time.monotonic() - began
    expected = _board(undisturbed, challenge)
    assert len(expected) == count

    chance = random.Random(7)
    done: list[int] = []
    for kill in range(kills):
        process = start(place)
        # While it starts, or when some more results are there: a busy machine is slow at both.
        goal = 0 if kill and chance.random() < 0.3 else chance.choice((1, 2))
        if not goal:
            time.sleep(chance.uniform(0.2, whole / 2))
        goal += len(result_files.read_all(place))
        while process.poll() is None and len(result_files.read_all(place)) < min(goal, count - 1):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        victims = family = _family(process)
        if victims and kill % 3 == 1:
            victims = [chance.choice(victims)]
        elif victims and kill % 3 == 2:
            victims = family[:1]
        for victim in victims:
            with_pid = victim.pid
            try:
                os.kill(with_pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if process.poll() is None and family[:1] != victims[:1]:
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        process.communicate()
        done.append(len(result_files.read_all(place)))
        if done[-1] == count and kill < kills - 1:
            # All was judged between the kills: begin anew, so that the others strike too.
            assert _board(place, challenge) == expected
            shutil.rmtree(layout.results(place))
    # Workers whose head was killed end soon after; what they leave can be removed only then.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _running(temporary):
        time.sleep(0.05)
    process = start(place)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert _board(place, challenge) == expected
    files = list(layout.results(place).glob("*.json"))
    assert len(files) == count
    for path in files:
        assert json.loads(path.read_text())["outcome"] == "ok"
    # Nothing half-written is left, neither in the workspace nor among temporary files.
    assert [each for each in place.path.rglob(".*.partial")] == []
    assert [each for each in place.path.rglob(".*.old")] == []
    gone = [
        path
        for path in temporary.glob("challenge-[0-9]*-*-*")
        if not psutil.pid_exists(int(path.name.split("-")[1]))
    ]
    assert gone == []
    # The kills came while there was work: results came about in between.
    assert any(0 < each < count for each in done), done
    assert _running(temporary) == []
