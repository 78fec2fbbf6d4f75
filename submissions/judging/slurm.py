"""Jobs of SLURM whose workers judge, or train: dask-jobqueue submits them and cancels them.

The scheduler is one of this process; workers reach it over TLS, with a certificate that is made for
it and lies in a folder that the nodes share. Jobs are cancelled when the block ends. Where this
process is killed, workers that run lose their scheduler, and those that start find none for
`death-timeout`: both end, and their jobs with them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.submissions.judging import access, connection

if TYPE_CHECKING:
    from distributed import Client

MOST = 4
"""Jobs at a time, where nobody says how many."""
BESIDE_GB = 1.0
"""Of a job, for the worker beside the entry."""
LOOK = 2.0
"""Seconds between two questions to SLURM."""
_OPTION = f"--scheduler {connection.SLURM}"
_NAME = "challenge"
"""Of all jobs."""
_SETTINGS = "~/.config/dask/jobqueue.yaml"


@dataclass(frozen=True)
class Jobs:
    """What SLURM is asked for; partition, account, walltime are dask-jobqueue's to know."""

    count: int
    threads: int
    """Cores of each."""
    memory_gb: float | None
    """Of an entry; None: SLURM's default."""
    folder: Path
    """For logs and the certificate, on a file system that all nodes share."""
    tell: Callable[[str], None]
    """Called with what there is to know while jobs are waited for."""


def need() -> None:
    """Raise `UserError` where no job can be submitted."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        raise UserError.of(_OPTION, "needs dask-jobqueue", "install `challenge[slurm]`")
    if shutil.which("sbatch") is None:
        raise UserError.of(
            _OPTION, "there is no `sbatch` here", "give the command where jobs are submitted"
        )


def check() -> None:
    """Raise `UserError` where no job can be submitted, or nobody answers for them."""
    need()
    if _states(["1"]) is None:  # whose job that is does not matter
        raise UserError.of(_OPTION, "SLURM does not answer", "see what `squeue` says")


@contextlib.contextmanager
def cluster(jobs: Jobs) -> Iterator[Any]:
    """A scheduler of this process with jobs that are submitted, and cancelled at the end.

    Raises:
        UserError: SLURM refuses a job.
    """
    need()
    made = None
    folder = jobs.folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="tls-", dir=folder))
    try:
        access.make_certificate(own)
        with connection.no_interrupts():
            try:
                made = _scheduler(jobs, folder, own)
                for _ in range(jobs.count):
                    made.worker_spec.update(made.new_worker_spec())
                made.sync(_submit, made)
            except (RuntimeError, ValueError) as error:
                raise _refused(str(error)) from None
        numbers, shown = ", ".join(_numbers(made)), shlex.quote(str(own))
        jobs.tell(f"jobs       {numbers}, logs in {folder}")
        jobs.tell(f"look with  challenge workers {made.scheduler_address} --tls {shown}")
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(own, ignore_errors=True)


def wait(client: Client, made: Any, jobs: Jobs) -> None:
    """Wait for the first worker, as long as a job may bring one, and say how jobs stand.

    Raises:
        UserError: all jobs ended before.
    """
    said, numbers = "", _numbers(made)
    while not connection.identity(client)["workers"]:
        states = _states(numbers)
        if states is not None and not states:
            log = _log(jobs.folder, numbers[0])
            cause = f"the jobs ended before a worker came; job {numbers[0]}: {_last_line(log)}"
            raise UserError.of(_OPTION, cause, f"see {log}")
        if states is not None and (text := _in_words(states, len(numbers))) != said:
            said = text
            jobs.tell(f"waits for  {text}")
        time.sleep(LOOK)


def any_pending(made: Any) -> bool:
    """Whether jobs of a cluster have not begun yet."""
    waiting = ("pending", "configuring")
    return any(each.startswith(waiting) for each in _states(_numbers(made)) or ())


def _scheduler(jobs: Jobs, folder: Path, own: Path) -> Any:
    """The scheduler, without jobs."""
    import dask.config

    cluster = _class()
    options = dask.config.get("jobqueue.slurm.scheduler-options")
    return cluster(
        **_asked(jobs, folder),
        security=_security(str(own / access.CERTIFICATE), str(own / access.KEY)),
        # Without one, Dask's pages are at a fixed port, for everybody.
        scheduler_options={"dashboard_address": "127.0.0.1:0", **options},
        silence_logs=False,
    )


def _asked(jobs: Jobs, folder: Path) -> dict[str, Any]:
    """A job, in dask-jobqueue's words; the settings say the rest."""
    import dask.config

    known: dict[str, Any] = dask.config.get("jobqueue.slurm")
    memory = known["memory"] or (jobs.memory_gb and f"{jobs.memory_gb + BESIDE_GB}GB")
    log = [] if known["log-directory"] else [f"--output={shlex.quote(str(folder))}/%j.log"]
    skip = [] if memory or known["job-mem"] else ["--mem="]
    threads = known["job-cpu"] or jobs.threads
    return {
        # Of the worker: it runs one task at a time.
        "cores": 1,
        "processes": 1,
        "job_cpu": threads,
        "memory": memory or "1GB",
        "job_name": _NAME,
        "job_extra_directives": [*log, *known["job-extra-directives"]],
        "job_directives_skip": [*skip, *known["job-directives-skip"]],
        # Like a program's own name, `-P` finds no module in the folder of the command.
        "python": f"{known['python'] or shlex.quote(sys.executable)} -P",
        "worker_extra_args": [
            *known["worker-extra-args"],
            # The last one of an option counts: dask-jobqueue gives the job's memory.
            *("--memory-limit", "0", "--no-dashboard"),
            *("--resources", f"judge=1,cores={threads}"),
        ],
    }


def _class() -> Any:
    """dask-jobqueue's, with what it lacks."""
    # It takes Ctrl-C away when it is imported, and would leave with exit code 0.
    before = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

    signal.signal(signal.SIGINT, before)
    from distributed.deploy.spec import ProcessInterface

    class Job(SLURMJob):  # type: ignore[misc]
        async def close(self) -> None:
            await super().close()
            # Dask looks for it, and dask-jobqueue does not say it.
            await ProcessInterface.close(self)

    class Cluster(SLURMCluster):  # type: ignore[misc]
        job_cls = Job

        def _get_worker_security(self, security: Any) -> Any:
            # Names of files become words of a shell's there, as they are.
            quoted = map(shlex.quote, (security.tls_ca_file, security.tls_worker_key))
            return _security(*quoted)

    return Cluster


def _security(certificate: str, key: str) -> Any:
    from distributed.security import Security

    roles = ("client", "scheduler", "worker")
    return Security(
        tls_ca_file=certificate,
        require_encryption=True,
        **{f"tls_{role}_cert": certificate for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )


async def _submit(made: Any) -> None:
    # `scale` would do so in the background, where nobody hears of a job that is refused.
    await made


def _numbers(made: Any) -> list[str]:
    return sorted((each.job_id for each in made.workers.values() if each.job_id), key=int)


def _states(numbers: Sequence[str]) -> Counter[str] | None:
    """How many jobs are in which state; None where SLURM does not say."""
    if not numbers:
        return Counter()
    asked = ["squeue", "--noheader", f"--jobs={','.join(numbers)}", "--format=%T %r"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    found = Counter[str]()
    for line in done.stdout.splitlines():
        state, _, reason = line.strip().partition(" ")
        why = f" ({reason})" if state == "PENDING" and reason not in ("", "None") else ""
        found[f"{state.lower()}{why}"] += 1
    return found


def _in_words(states: Counter[str], count: int) -> str:
    ended = count - states.total()
    words = [f"{number} {state}" for state, number in sorted(states.items())]
    return ", ".join([*words, *([f"{ended} ended"] if ended else [])])


def _log(folder: Path, number: str) -> Path:
    """What a job said; where the settings have a folder for that, under dask-jobqueue's name."""
    import dask.config

    if own := dask.config.get("jobqueue.slurm.log-directory"):
        return Path(own) / f"{_NAME}-{number}.err"
    return folder.absolute() / f"{number}.log"


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "said nothing")
    return "left no log"


def _refused(error: str) -> UserError:
    """What `sbatch` or Dask said, in the words of an error of dask-jobqueue's, in one line."""
    _, by_sbatch, said = error.partition("stderr:\n")
    lines = [line.rpartition("error: ")[2].strip() for line in (said or error).splitlines()]
    text = "; ".join(filter(None, lines))
    return UserError.of(
        _OPTION,
        f"`sbatch` refuses a job: {text}" if by_sbatch else text,
        f"partition, account, interface and the like are set in {_SETTINGS}, see docs/cluster.md",
    )
