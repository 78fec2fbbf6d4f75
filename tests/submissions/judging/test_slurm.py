"""Jobs of SLURM: what they are, what is said of them, and that none outlives its command."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.judging import connection, pool, slurm
from challenge.submissions.judging.cluster import Cluster
from challenge.submissions.judging.judge import open_judge
from challenge.submissions.judging.slurm import Jobs
from challenge.submissions.runs import alike
from challenge.submissions.runs.apart import Job, Workers
from tests.submissions.judging import fake_slurm
from tests.submissions.judging.boards import board_but_for_times
from tests.submissions.judging.echoed import entry_of

pytest.importorskip("dask_jobqueue", reason="`pip install -e '.[slurm]'`")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it plays SLURM on Linux")
RUNNER = Path(__file__).parents[1] / "echo_runner.py"


class Stop(Exception):
    """What ends a command in the middle, as Ctrl-C does."""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of SLURM's commands, on the `PATH`."""
    folder = tmp_path / "tools"
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "LOOK", 0.2)
    return folder


@contextlib.contextmanager
def configured(**settings: Any) -> Iterator[None]:
    """With settings of dask-jobqueue's, which are read when it is imported."""
    import dask

    slurm._class()
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}):
        yield


def jobs_in(folder: Path, tell: Callable[[str], None], **about: Any) -> Jobs:
    return Jobs(**{"count": 2, "threads": 3, "memory_gb": 4.0, **about}, folder=folder, tell=tell)


def refused(jobs: Jobs) -> str:
    with pytest.raises(UserError) as caught, connection.connect("slurm", jobs=jobs):
        pass
    (mistake,) = caught.value.mistakes
    assert "\n" not in str(mistake)
    return str(mistake)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no `sbatch` here" in refused(jobs_in(tmp_path, print))
    with pytest.raises(UserError, match="no `sbatch`"):
        connection.check("slurm")
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dask_jobqueue" else true(name)
    )
    assert refused(jobs_in(tmp_path, print)) == (
        "--scheduler slurm: needs dask-jobqueue; install `challenge[slurm]`"
    )


def test_a_job_that_waits_is_told_of_and_cancelled_when_the_command_ends(
    tools: Path, tmp_path: Path
) -> None:
    folder, said, modes = tmp_path / "two words" / "slurm", [], {}

    def tell(text: str) -> None:
        said.append(text)
        if text.startswith("waits"):
            for path in [folder, *folder.rglob("*")]:
                modes[path.name.partition("-")[0]] = stat.S_IMODE(path.stat().st_mode)
            raise Stop

    before = signal.getsignal(signal.SIGINT)
    with (
        configured(queue="full", account="course"),
        pytest.raises(Stop),
        connection.connect("slurm", jobs=jobs_in(folder, tell)),
    ):
        pass
    assert signal.getsignal(signal.SIGINT) is before
    assert (
        said[0].startswith("jobs       100, 101") and said[-1] == "waits for  2 pending (Resources)"
    )
    assert "challenge workers tls://" in said[1] and "127.0.0.1" not in said[1]
    assert not list(tools.glob("*.pending")) and not list(folder.iterdir())
    assert modes["slurm"] == modes["tls"] == stat.S_IRWXU
    assert modes["key.pem"] == stat.S_IRUSR | stat.S_IWUSR

    scripts = fake_slurm.scripts(tools)
    assert len(scripts) == 2
    for script in scripts:
        head = [line for line in script.splitlines() if line.startswith("#SBATCH")]
        for asked in ("-p full", "-A course", "-n 1", "--cpus-per-task=3", "--mem=5G"):
            assert f"#SBATCH {asked}" in head
        words = script.splitlines()[-1]
        command = subprocess.run(
            ["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        options = dict(zip(command, command[1:], strict=False))
        assert command[0] == sys.executable and options["--nthreads"] == "1"
        assert options["--resources"] == "judge=1,cores=3" and options["--memory-limit"] == "0"
        assert options["--death-timeout"] == "60" and options["--protocol"] == "tls://"
        assert Path(options["--tls-key"]).parent.parent == folder
        assert Path(options["--tls-ca-file"]).name == Path(options["--tls-cert"]).name


@pytest.mark.parametrize(
    ("settings", "memory_gb", "asked"),
    [
        ({}, None, []),
        ({}, 4.5, ["6G"]),
        ({"memory": "7GiB"}, 4.5, ["7G"]),
        ({"memory": "7GiB"}, None, ["7G"]),
        ({"job-mem": "9G"}, None, ["9G"]),
    ],
)
def test_memory_is_asked_for_where_it_is_known(settings, memory_gb, asked, tmp_path: Path) -> None:
    with configured(**settings):
        about = slurm._asked(jobs_in(tmp_path, print, memory_gb=memory_gb), tmp_path)
        script = slurm._class().job_cls("tls://10.0.0.1:1", name="one", **about).job_script()
    assert re.findall(r"--mem=(\S+)", script) == asked
    assert script.rindex("--memory-limit 0") > script.index("--memory-limit")


def test_a_job_that_is_refused_is_one_line_and_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    with configured(queue="nowhere"):
        said = refused(jobs_in(tmp_path / "slurm", print))
    assert "`sbatch` refuses a job: invalid partition specified: nowhere; Batch job" in said
    assert "jobqueue.yaml" in said and not list((tmp_path / "slurm").iterdir())
    with configured(interface="nowhere"):
        said = refused(jobs_in(tmp_path / "slurm", print))
    assert "'nowhere' is not a valid network interface" in said and "jobqueue.yaml" in said


def test_jobs_that_end_before_their_workers_come_are_one_line(tools: Path, tmp_path: Path) -> None:
    with configured(python="/nowhere/python"):
        said = refused(jobs_in(tmp_path / "slurm", lambda text: None))
    assert "ended before a worker came; job 100: " in said and "/nowhere/python" in said
    assert (tmp_path / "slurm" / "100.log").is_file() and "100.log" in said


def _place(workspace: Workspace, path: Path) -> Workspace:
    shutil.copytree(workspace.path, path)
    return Workspace(path)


@pytest.mark.slow
def test_the_board_is_that_of_one_machine(
    make_entry: Callable[..., Path],
    workspace: Workspace,
    challenge: Challenge,
    tools: Path,
    tmp_path: Path,
) -> None:
    entries = [entry_of(make_entry, f"entry-{each}", "echo") for each in range(3)]
    boards = []
    for name in ("alone", "jobs"):
        place = _place(workspace, tmp_path / name)
        judge = open_judge(
            place, challenge, place.hidden("tiny"), None, level="process", runner=RUNNER
        )
        with contextlib.ExitStack() as stack:
            cluster = None
            if name == "jobs":
                jobs = jobs_in(layout.slurm(place), lambda text: None, threads=1, memory_gb=None)
                client = stack.enter_context(connection.connect("slurm", jobs=jobs))
                cluster = Cluster(client, place, challenge.config.limits, own_cores=False)
            found = list(pool.judge_all(judge, entries, cluster=cluster))
        assert [each.fault for each in found] == [""] * 3
        boards.append(board_but_for_times(place, challenge))
    assert boards[0] == boards[1]
    assert not any(fake_slurm.session(tools, number) for number in ("100", "101"))


@pytest.mark.slow
@pytest.mark.skipif(machine.cores() < 2, reason="on one core both are one")
def test_a_run_has_the_cores_of_its_job(tools: Path, challenge: Challenge, tmp_path: Path) -> None:
    code = (
        f"import os; open({str(tmp_path / 'threads')!r}, 'w').write(os.environ['OMP_NUM_THREADS'])"
    )
    job = Job(
        run=str(tmp_path / "run"),
        command=("-c", code),
        folder=str(tmp_path),
        public=str(challenge.path),
        seen=alike.seen(challenge),
    )
    jobs = jobs_in(tmp_path / "slurm", lambda text: None, count=1, threads=1, memory_gb=None)
    with connection.connect("slurm", jobs=jobs) as client:
        workers = Workers(client, connection.identity(client)["workers"])
        (done,) = workers.train_all([job], stopping=lambda: False)
    assert done.finished, done.fault
    assert (tmp_path / "threads").read_text() == "1"


def test_a_slurm_that_does_not_answer_is_told_of_before_anything_begins(tools: Path) -> None:
    connection.check("slurm")
    (tools / "squeue").write_text(
        "#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n"
    )
    with pytest.raises(UserError, match="SLURM does not answer; see what `squeue` says"):
        connection.check("slurm")


def test_ctrl_c_is_answered_as_before() -> None:
    """In a process of its own: dask-jobqueue takes it when it is imported for the first time."""
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT)\n"
        "from challenge.submissions.judging import slurm; slurm._class()\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from challenge.submissions.judging import connection
from challenge.submissions.judging.slurm import Jobs
jobs = Jobs(count=1, threads=1, memory_gb=None, folder=Path(sys.argv[1]), tell=print)
with connection.connect("slurm", jobs=jobs):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_jobs_end_when_their_organiser_is_killed(tools: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Its worker is there; dask-jobqueue's `death-timeout` is a minute.
    end = time.monotonic() + 120
    while fake_slurm.session(tools, "100") and time.monotonic() < end:
        time.sleep(0.5)
    assert not fake_slurm.session(tools, "100")
