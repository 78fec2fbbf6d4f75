"""SIGKILL of the organiser's process, a worker, the scheduler: the same command, the same board."""

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
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.jail.probe import probe
from tests.submissions.judging.boards import board_but_for_times
from tests.submissions.judging.echoed import entry_of

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux"),
]
HERE = Path(__file__).parent
KINDS = ("organiser", "interrupt", "worker", "scheduler")


class Machines:
    """A scheduler and two workers, as an organiser starts them."""

    def __init__(self, folder: Path) -> None:
        self.file, self.log = folder / "scheduler.json", (folder / "dask.log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.file.unlink(missing_ok=True)
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._start(
            *("worker", "--nworkers", "2", "--nthreads", "1", "--memory-limit", "0"),
            *("--resources", "judge=1", "--no-dashboard", "--host", "127.0.0.1"),
        )

    def _start(self, what: str, *options: str) -> None:
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self.file), *options]
        self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    @property
    def address(self) -> str:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return str(json.loads(self.file.read_text())["address"])
            time.sleep(0.1)
        raise TimeoutError("no scheduler")

    def kill_worker(self, chance: random.Random) -> None:
        """One of the processes that nannies watch, if one is there."""
        found = [
            each
            for each in psutil.Process(self.processes[1].pid).children(recursive=True)
            if "spawn_main" in " ".join(_words(each))
        ]
        if found:
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(found).kill()

    def kill_scheduler(self) -> None:
        self.processes[0].kill()

    def note(self, text: str) -> None:
        """Into the log of Dask's."""
        self.log.write(f"== {text}\n".encode())
        self.log.flush()

    def stop(self) -> None:
        for each in reversed(self.processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(each.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            each.kill()
            each.wait()
        self.processes.clear()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.stop()
    made.log.close()


def _in_one_line(errors: str) -> bool:
    """Whether a command said what happened to its scheduler, and no more."""
    lines = errors.strip().splitlines()
    said = ("the scheduler: is gone", "no scheduler answers")
    return len(lines) == 1 and any(each in lines[0] for each in said)


@pytest.mark.parametrize(
    ("kills", "count"),
    [
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(20, 6, marks=pytest.mark.by_hand),
    ],
)
def test_whoever_is_killed_the_same_command_goes_on(
    make_entry: Callable[..., Path],
    workspace: Workspace,
    challenge: Challenge,
    machines: Machines,
    tmp_path: Path,
    kills: int,
    count: int,
) -> None:
    entries = [entry_of(make_entry, f"entry-{each}", "slow") for each in range(count)]
    level = "landlock" if not probe.works("landlock") else "process"
    places = [Workspace(tmp_path / name) for name in ("undisturbed", "killed")]
    for each in places:
        shutil.copytree(workspace.path, each.path)
    undisturbed, place = places

    def start(where: Workspace, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command, level, *map(str, entries)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start_here() -> subprocess.Popen[str]:
        program = str(HERE / "score_on_cluster.py")
        return start(place, program, str(place.path), machines.address)

    process = start(undisturbed, str(HERE / "score_all.py"), str(undisturbed.path), "2")
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    expected = board_but_for_times(undisturbed, challenge)

    chance = random.Random(7)
    machines.start()
    began = time.monotonic()
    errors = start_here().communicate(timeout=900)[1]
    lasts = time.monotonic() - began
    assert board_but_for_times(place, challenge) == expected, errors
    for number in range(kills):
        shutil.rmtree(layout.results(place))
        stands: dict[str, bytes] = {}
        process: subprocess.Popen[str] | None = None
        for kind in chance.sample(KINDS, len(KINDS)):
            while True:
                process = process or start_here()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0, lasts))
                if process.poll() is None:
                    break
                # It was through before it was struck: once more, from the beginning.
                out, errors = process.communicate()
                assert process.returncode == 0, errors
                stands = _stands(place, stands)
                assert len(stands) == count
                shutil.rmtree(layout.results(place))
                process, stands = None, {}
            stands = _stands(place, stands)
            machines.note(f"kill {number + 1}: {kind}, {len(stands)} of {count} have verdicts")
            if kind == "worker":
                machines.kill_worker(chance)
                continue
            if kind == "organiser":
                process.kill()
            elif kind == "interrupt":
                os.killpg(process.pid, signal.SIGINT)
            else:
                machines.kill_scheduler()
            out, errors = process.communicate(timeout=900)
            if kind == "scheduler":
                assert process.returncode == 0 or _in_one_line(errors), errors
                machines.stop()
                machines.start()
            process, stands = None, _stands(place, stands)
        process = process or start_here()
        out, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors
        assert len(_stands(place, stands)) == count
        assert board_but_for_times(place, challenge) == expected
        assert [each for each in place.path.rglob(".*.partial")] == []


def _stands(place: Workspace, before: dict[str, bytes]) -> dict[str, bytes]:
    """All verdicts; none of those that stood is lost, and none was made anew."""
    assert not layout.history(place).exists()
    found = {each.name: each.read_bytes() for each in layout.results(place).glob("[!.]*.json")}
    assert before.items() <= found.items()
    return found
