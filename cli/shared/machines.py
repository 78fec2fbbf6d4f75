"""On which machines entries are judged: on this one, or on the workers of a Dask scheduler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.configs.schema.challenge import Limits
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.judging.cluster import Cluster
    from challenge.submissions.judging.slurm import Jobs


@dataclass(frozen=True)
class Machines:
    """What a command says of them."""

    scheduler: str | None = None
    """An address, `local` or `slurm`; None: no Dask."""
    tls: Path | None = None
    workers: int | None = None

    def at_a_time(self, entries: int, threads: int) -> int:
        """Entries at a time on this machine; 0: on others.

        Raises:
            UserError: there are not enough cores, or the options do not go together.
        """
        from challenge.configs.errors import UserError
        from challenge.submissions import machine
        from challenge.submissions.judging import slurm
        from challenge.submissions.judging.access import need_dask
        from challenge.submissions.judging.connection import LOCAL, SLURM
        from challenge.submissions.judging.pool import shares

        if self.scheduler is not None:
            need_dask(f"--scheduler {self.scheduler}")
        if self.tls is not None and (self.scheduler or LOCAL) in (LOCAL, SLURM):
            remedy = "give `--scheduler tls://HOST:PORT` too"
            raise UserError.of("--tls", "is for a scheduler at an address", remedy)
        if self.scheduler == SLURM:
            slurm.need()
            return 0
        if self.scheduler not in (None, LOCAL):
            if self.workers is not None:
                raise UserError.of(
                    "--workers",
                    "is for this machine; at an address, all workers judge that are there",
                    "leave it out",
                )
            return 0
        most = machine.cores() // threads if self.scheduler == LOCAL else 1
        wanted = min(self.workers or max(1, most), max(1, entries))
        if wanted > 1:
            shares(wanted, threads)
        return wanted

    def jobs(
        self, wanted: int, place: Workspace, limits: Limits, *, train: bool = False
    ) -> Jobs | None:
        """What SLURM is asked for, to judge or train so many; None where it has no part in it."""
        from challenge.cli.shared.console import say
        from challenge.submissions import layout
        from challenge.submissions.judging import connection, slurm

        if self.scheduler != connection.SLURM:
            return None
        return slurm.Jobs(
            count=min(self.workers or slurm.MOST, max(1, wanted)),
            threads=limits.threads,
            # An entry is watched to keep to it; a training is not.
            memory_gb=None if train else limits.memory_gb,
            folder=layout.slurm(place),
            tell=say,
        )

    @contextlib.contextmanager
    def cluster(
        self, place: Workspace, challenge: Challenge, workers: int, entries: int
    ) -> Iterator[Cluster | None]:
        """The workers of the scheduler, for so many entries; None where there is none."""
        if self.scheduler is None:
            yield None
            return
        from challenge.cli.shared.console import say
        from challenge.submissions.judging import connection
        from challenge.submissions.judging.cluster import Cluster

        jobs = self.jobs(entries, place, challenge.config.limits)
        with connection.connect(self.scheduler, self.tls, workers, jobs) as client:
            if page := connection.dashboard(client):
                say(f"dashboard  {page}")
            same = challenge.config.rules.judges == "same_machine_kind"
            found = Cluster(client, place, challenge.config.limits, same_kind=same)
            try:
                say(f"workers    {found.members}")
                yield found
            finally:
                found.close()
