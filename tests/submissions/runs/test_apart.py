"""Runs on the workers of a scheduler: at a time, lost and found, stopped, refused with a line."""

from __future__ import annotations

import contextlib
import socket
import sys
import textwrap
from dataclasses import replace

import psutil
import pytest

from challenge.submissions import machine
from challenge.submissions.judging import connection
from challenge.submissions.runs import alike
from challenge.submissions.runs.apart import Job, Workers

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores"),
    pytest.mark.skipif(sys.platform != "linux", reason="a worker's child ends with it on Linux"),
]


@pytest.fixture(scope="module")
def workers():
    """Two, for all tests: they take seconds to start."""
    with connection.connect("local", workers=2) as client:
        yield Workers(client, connection.identity(client)["workers"])


@pytest.fixture
def job(tmp_path, challenge):
    """A job whose command is a few lines; they see `here`, the test's folder, and `run`."""

    def make(name, code):
        begin = f"import os, signal, sys, time, pathlib; here = pathlib.Path({str(tmp_path)!r})\n"
        begin += f"run = here / {name!r}; again = '--resume' in sys.argv\n"
        return Job(
            run=str(tmp_path / name),
            command=("-c", begin + textwrap.dedent(code)),
            folder=str(tmp_path),
            public=str(challenge.path),
            seen=alike.seen(challenge),
        )

    return make


def never():
    return False


MEETS = """
    run.mkdir()
    (run / "threads").write_text(os.environ["OMP_NUM_THREADS"])
    while len(list(here.glob("meets-*"))) < 2:
        time.sleep(0.05)
"""


def test_each_worker_trains_one_run_and_what_fails_says_why_and_where(workers, job, tmp_path):
    host = socket.gethostname()
    jobs = {
        "meets-1": job("meets-1", MEETS),
        "meets-2": job("meets-2", MEETS),
        "wrong": job("wrong", "print('error: `lr` is too high'); sys.exit(2)"),
        "bug": job("bug", "print(1 / 0)"),
        "older": replace(job("older", ""), seen={**job("older", "").seen, "torch": "1.0"}),
        "away": replace(job("away", ""), folder=str(tmp_path / "nowhere")),
    }
    done = {each.job: each for each in workers.train_all(list(jobs.values()), stopping=never)}
    faults = {name: done[each].fault for name, each in jobs.items()}
    assert {name for name, each in jobs.items() if done[each].finished} == {"meets-1", "meets-2"}
    assert (tmp_path / "meets-1/threads").read_text() == str(max(1, machine.cores() // 2))
    assert faults["wrong"] == f"on {host}: `lr` is too high"
    assert faults["bug"] == f"on {host}: ZeroDivisionError: division by zero"
    assert faults["older"].startswith(f"{host}: sees another torch: `")
    assert faults["away"].startswith(f"{host}: has no folder {tmp_path}/nowhere")


SAVES = """
    def save(*_):
        (run / "saved").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    run.mkdir()
    time.sleep(60)
"""


def test_asked_to_stop_all_save_and_none_begins(workers, job, tmp_path):
    jobs = [job(f"saves-{number}", SAVES) for number in range(3)]
    done = list(workers.train_all(jobs, stopping=lambda: any(tmp_path.glob("saves-*"))))
    assert [(each.finished, each.fault) for each in done] == [(False, "")] * 3
    begun = list(tmp_path.glob("saves-*"))
    assert 1 <= len(begun) <= 2
    assert all((each / "saved").exists() for each in begun)


DIES = "from challenge.submissions.runs.processes import die_with_parent as d; d()\n"


def test_a_run_whose_worker_is_lost_goes_on_with_another_one(workers, job, tmp_path):
    lost = job("lost", """
        if not again:
            run.mkdir()
            (run / "first").write_text(str(os.getpid()))
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        (run / "second").touch()
    """)  # fmt: skip
    lost = replace(lost, command=(lost.command[0], DIES + lost.command[1]))
    (done,) = workers.train_all([lost], stopping=never)
    assert done.finished and (tmp_path / "lost/second").exists()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "lost/first").read_text())).wait(20)
