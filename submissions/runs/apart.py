"""Runs of a sweep on the workers of a Dask scheduler, one at a time on each.

A worker starts the command that trains a run, in a process of its own, which ends with it. Folders
are shared: the workspace, the config and what it names lie at the same place on every machine. So
a run is followed by its log, and what was lost with a worker goes on from its checkpoint: Dask
gives it to another one, three times.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import open_challenge
from challenge.submissions import machine
from challenge.submissions.layout import Run
from challenge.submissions.runs import alike, log
from challenge.submissions.runs.facts import read_facts

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK = 0.25
"""Seconds between two looks."""
TOLD = 4000
"""Bytes of what a command says that are read for its error."""
_stopped: set[str] = set()
"""Sweeps whose runs are to stop, of this worker."""


@dataclass(frozen=True, eq=False)
class Job:
    """The training of one run."""

    run: str
    """Its folder."""
    command: tuple[str, ...]
    """After Python's name; `--resume` is added where the run is there."""
    folder: str
    """In which the command is given."""
    public: str
    """The folder of its challenge."""
    seen: Mapping[str, str]
    """Of the organiser's machine, by `alike.seen`."""


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    job: Job
    finished: bool
    fault: str = ""
    """Why it is not finished; empty where it was stopped."""


class Workers:
    """The workers of a scheduler that train."""

    def __init__(self, client: Client, info: Mapping[str, Any]) -> None:
        """See who is there.

        Args:
            client: of the scheduler.
            info: what the scheduler says of its workers, by their addresses.

        Raises:
            UserError: none of them takes one run at a time.
        """
        fit = {name: each for name, each in info.items() if each["resources"].get("judge")}
        if not fit:
            raise UserError.of(
                "the scheduler",
                "has no worker that takes one run at a time",
                "start some with `--nthreads 1 --resources judge=1`, see docs/cluster.md",
            )
        self._client = client
        self.count = len(fit)
        self._beside = dict(Counter(each["host"] for each in fit.values()))

    def train_all(
        self,
        jobs: Sequence[Job],
        *,
        stopping: Callable[[], bool],
        progress: Callable[[Job, Mapping[str, Any]], None] | None = None,
    ) -> Iterator[Done]:
        """Train runs as workers are free; each as soon as it is done.

        Args:
            jobs: of one sweep.
            stopping: asked again and again; once true, what runs saves and stops.
            progress: called with the last line of the log of a run, when it is another one.

        Raises:
            UserError: the scheduler is gone.
        """
        sweep = secrets.token_hex(8)
        left: dict[Future, Job] = {}
        seen: dict[Job, Mapping[str, Any]] = {}
        for job in jobs:
            key = f"train-{Path(job.run).name}-{sweep}-{len(left)}"
            asked = {**asdict(job), "sweep": sweep, "key": key, "beside": self._beside}
            future = self._client.submit(
                train_here, asked, key=key, resources={"judge": 1}, pure=False
            )
            left[future] = job
        try:
            while left:
                for future in [each for each in left if each.done()]:
                    yield _done(left.pop(future), future)
                if stopping():
                    # Again and again: workers come meanwhile, and those that a nanny starts anew.
                    self._client.run(stop, sweep, on_error="ignore")
                for job in left.values():
                    line = _last(Run(Path(job.run)))
                    if progress is not None and line and line != seen.get(job):
                        progress(job, line)
                        seen[job] = line
                time.sleep(LOOK)
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(left))


def _done(job: Job, future: Future) -> Done:
    if future.cancelled():
        # By nobody here: the client does so when it loses the scheduler.
        raise UserError.of(
            "the scheduler",
            "is gone",
            "start it again, its workers too, and give the same command with `--resume`",
        )
    try:
        code, fault = future.result()
    except Exception as error:
        # The scheduler's own words for a job that took several workers along.
        return Done(job, False, " ".join(str(error).split()) or type(error).__name__)
    return Done(job, code == 0, fault)


def _last(run: Run) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        return next(iter(reversed(log.read(run))), {})
    return {}


async def stop(sweep: str) -> None:
    """Ask the runs of a sweep that this worker trains to save and stop."""
    _stopped.add(sweep)


def train_here(job: dict[str, Any]) -> tuple[int, str]:
    """Train a run; a task of Dask's.

    Args:
        job: a `Job`, its `sweep` and `key`, and how many workers are `beside` each other by host.

    Returns:
        The exit code of the command, and why it failed; empty where it did not.
    """
    from distributed import get_worker
    from distributed.comm import get_address_host

    worker, host = get_worker(), socket.gethostname()
    try:
        command = _command(job, host)
    except UserError as error:
        return 2, str(error)
    if not command:
        return 0, ""
    if not _is_wanted(worker, job):
        return 128 + signal.SIGTERM, ""
    # By its host: a worker that a nanny started anew has another address.
    beside = job["beside"].get(get_address_host(worker.address), 1)
    # Those of a job are no matter of the machine.
    own = worker.state.total_resources.get("cores", 0)
    threads = str(int(own) or max(1, machine.cores() // beside))
    libraries = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command,
            cwd=job["folder"],
            env={**os.environ, **libraries, "CHALLENGE_PARENT": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        asked = False
        while child.poll() is None:
            if not asked and not _is_wanted(worker, job):
                asked = True
                child.send_signal(signal.SIGTERM)
            time.sleep(LOOK)
        code = child.returncode
        if code == 0 or asked:
            return code, ""
        return code, f"on {host}: {_error(said.read, said.seek, code)}"


def _command(job: dict[str, Any], host: str) -> list[str]:
    """What is to be started here; nothing where the run is finished.

    Raises:
        UserError: this machine sees something else than the organiser's.
    """
    if not Path(job["folder"]).is_dir():
        raise UserError.of(
            host, f"has no folder {job['folder']}", "share it with every machine, at the same place"
        )
    alike.check(host, alike.seen(open_challenge(Path(job["public"]))), job["seen"])
    if not Path(job["run"]).exists():
        return [sys.executable, *job["command"]]
    return [] if _is_finished(job) else [sys.executable, *job["command"], "--resume"]


def _is_finished(job: dict[str, Any]) -> bool:
    with contextlib.suppress(UserError):
        return read_facts(Run(Path(job["run"]))).state == "finished"
    return False


def _is_wanted(worker: Any, job: dict[str, Any]) -> bool:
    """Whether the run is to go on: Dask does not end the thread of a task that was cancelled."""
    task = worker.state.tasks.get(job["key"])
    return job["sweep"] not in _stopped and task is not None and task.state != "cancelled"


def _error(read: Callable[[], bytes], seek: Callable[[int], int], code: int) -> str:
    """What a command says of its mistake."""
    seek(0)
    lines = read()[-TOLD:].decode(errors="replace").strip().splitlines()
    mistakes = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return next(iter(mistakes or reversed(lines)), f"ended with code {code}")
