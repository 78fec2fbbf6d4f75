"""The way to a Dask scheduler: this machine's own, one with jobs of SLURM, one at an address.

Who may be spoken to is in `access`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from challenge.configs.errors import UserError
from challenge.submissions.judging import access

if TYPE_CHECKING:
    from distributed import Client

    from challenge.submissions.judging.slurm import Jobs

LOCAL, SLURM = "local", "slurm"
PATIENCE = 15.0
"""Seconds for a scheduler to answer."""
_SETTINGS = {
    # A verdict is not repeated by Dask: a lost worker is our fault, and told of.
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.low-level-log-length": 1000,
    "distributed.worker.resources.judge": 1,
    # It looks at a worker's threads a hundred times a second, beside entries whose time is taken:
    # 2 % of a core. Workers that others start have their own settings.
    "distributed.worker.profile.enabled": False,
}


def check(address: str, tls: Path | None = None) -> None:
    """Raise `UserError`, as `connect`, where a scheduler could not be used; none is started."""
    access.need_dask(f"--scheduler {address}")
    if address == SLURM:
        from challenge.submissions.judging import slurm

        slurm.check()
    elif address != LOCAL:
        with connect(address, tls):
            pass


@contextlib.contextmanager
def connect(
    address: str,
    tls: Path | None = None,
    workers: int = 1,
    jobs: Jobs | None = None,
    option: str = "--scheduler ",
) -> Iterator[Client]:
    """A client of a scheduler, for as long as the block lasts.

    Args:
        address: `tcp://127.0.0.1:8786`, `tls://HOST:8786`, `local`: this machine's own, or `slurm`.
        tls: a folder with the certificate; by default what Dask is configured with.
        workers: of `local`.
        jobs: of `slurm`; the block begins when the first of them has brought a worker.
        option: what stands before the address where it is given, for what is said of it.

    Raises:
        UserError: Dask is not installed, nobody answers, it is not safe, or jobs fail.
    """
    named = f"{option}{address}"
    access.need_dask(named)
    import dask
    from distributed import Client

    with contextlib.ExitStack() as stack:
        stack.enter_context(_silent())
        stack.enter_context(dask.config.set(_SETTINGS))
        if address == LOCAL:
            reached: Any = stack.enter_context(_local(workers))
            security = None
        elif jobs is not None:
            from challenge.submissions.judging import slurm

            reached = stack.enter_context(slurm.cluster(jobs))
            security = None
        else:
            security = access.security(address, tls, named)
            reached = address
            _greet(address, security, named)
        try:
            client = Client(
                reached, timeout=PATIENCE, set_as_default=False, security=security, name="challenge"
            )
        except (OSError, ValueError) as error:
            raise _not_understood(named, error) from None
        stack.enter_context(client)
        listens = str(identity(client).get("address", ""))
        if not access.is_safe(listens):
            raise access.open_to_all(named, f"the scheduler listens at {listens}")
        if jobs is not None:
            slurm.wait(client, reached, jobs)
        yield client


def identity(client: Client) -> dict[str, Any]:
    """What the scheduler says of itself and of all its workers.

    Asked of it: `Client.scheduler_info` may hand on what the client asked by itself at the same
    moment, which leaves the workers out.
    """
    found: dict[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)
    return found


def more_come(client: Client) -> bool:
    """Whether workers are still to come, with jobs of SLURM that have not begun."""
    reached = getattr(client, "cluster", None)
    if getattr(reached, "job_cls", None) is None:
        return False
    from challenge.submissions.judging import slurm

    return slurm.any_pending(reached)


def dashboard(client: Client) -> str:
    """The address of Dask's own page; empty where it has none, for want of bokeh."""
    if importlib.util.find_spec("bokeh") is None:
        return ""
    services = identity(client).get("services", {})
    return client.dashboard_link if "dashboard" in services else ""


def _greet(address: str, security: Any, named: str) -> None:
    """Raise `UserError` where nobody is at an address, or nobody who answers as a scheduler.

    Dask's client alone would wait without end for somebody who says nothing.
    """
    from distributed.comm import connect as dial

    async def greet() -> None:
        arguments = {} if security is None else security.get_connection_args("client")
        comm = await asyncio.wait_for(dial(address, timeout=PATIENCE, **arguments), PATIENCE)
        await comm.close()

    try:
        asyncio.run(greet())
    # What somebody else says may be taken for a length, of more than any memory.
    except Exception as error:
        # Dask tries again whether nobody is there or somebody hangs up: its error tells neither.
        if _is_anybody_at(address):
            raise _not_understood(named, error) from None
        remedy = "start one with `dask scheduler`, see docs/cluster.md"
        cause = f"no scheduler answers there within {PATIENCE:g} s"
        raise UserError.of(named, cause, remedy) from None


def _is_anybody_at(address: str) -> bool:
    parts = urlsplit(address)
    try:
        with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=1):
            return True
    except OSError:
        return False


def _not_understood(named: str, error: Exception) -> UserError:
    """Somebody who speaks another language, or none, or who ended in the middle."""
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        said = f"it said nothing for {PATIENCE:g} s"
    elif not isinstance(error, OSError | ValueError):
        said = "what it said was no greeting of Dask"
    else:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError.of(
        named,
        f"no scheduler answers there that understands this client ({said})",
        "use `tls://` with the certificate that it was started with, or `tcp://` where it has "
        "none; see docs/cluster.md",
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What Dask says of lost workers and schedulers is said here, in words of ours."""
    names = [each for each in logging.root.manager.loggerDict if each.startswith("distributed")]
    # Some of its loggers have levels and handlers of their own.
    found = [(each, each.level) for each in map(logging.getLogger, names)]
    for each, _ in found:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in found:
            each.setLevel(level)


@contextlib.contextmanager
def _local(workers: int) -> Iterator[Any]:
    """A scheduler of this machine's own, with workers, which end with this process."""
    with contextlib.ExitStack() as stack:
        with no_interrupts():
            cluster = stack.enter_context(_cluster(workers))
        yield cluster


def _cluster(workers: int) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # A nanny would kill a worker for what the entry that it watches holds.
        memory_limit=0,
        resources={"judge": 1},
        host="127.0.0.1",
        # Without one, Dask's pages are at a fixed port, for everybody.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL + 1,
    )


@contextlib.contextmanager
def no_interrupts() -> Iterator[None]:
    """Ctrl-C waits: threads and processes that are started meanwhile never see it.

    A terminal sends it to all of a command's processes. Here this one alone answers, and ends the
    workers; each of them would show a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    # It lets interrupts through again for the thread that starts it, so it is started before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
