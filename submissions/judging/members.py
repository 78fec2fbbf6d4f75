"""The workers of a Dask scheduler, as the organiser's process sees them: who is there, who is free.

They may come and go. Each is asked once who it is, and lent to one entry at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.submissions.judging import connection, remote
from challenge.submissions.judging.admission import Wanted

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 60.0
"""Seconds without any worker that judges."""
JOINING = 240.0
"""Further seconds, where some are there and none has answered: they look at their machine, and
measure its speed, which a busy one does slowly."""
RECONNECT = 5.0
"""Seconds in which a connection that broke may come back."""
LOOK = 0.25
"""Seconds between two looks."""
WATCH = 0.5
"""Seconds between two questions to the scheduler who is there."""
GONE = UserError.of(
    "the scheduler", "is gone", "start it again, and give the same command: it goes on"
)


@dataclass(eq=False)
class Member:
    """A worker."""

    address: str
    info: dict[str, Any]
    """What the scheduler knows of it."""
    facts: dict[str, Any]
    """What it says of itself, by `remote.join`."""
    refusal: str = ""
    """Why it does not judge."""
    busy: bool = False
    gone: bool = False
    has: set[str] = field(default_factory=set)
    """Digests of the files that it was given."""

    @property
    def host(self) -> str:
        return str(self.facts["host"])


class Lost(Exception):
    """A worker was lost, or failed us; why."""


class Members:
    """All workers of a scheduler, for as long as they are looked at."""

    def __init__(self, client: Client, *, threads: int, own_cores: bool, organiser: str) -> None:
        """Ask all workers that are there who they are.

        Args:
            client: of the scheduler.
            threads: cores of an entry.
            own_cores: whether a worker must have them for itself.
            organiser: `remote.identity` of the organiser's machine.

        Raises:
            UserError: there are no workers, or the scheduler is gone.
        """
        self._client, self._about = client, (threads, own_cores, organiser)
        self._members: dict[str, Member] = {}
        self._joining: dict[str, float] = {}
        """When each was asked who it is, by the clock of `time.monotonic`."""
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._wanted: Wanted | None = None
        self._any_judged = False
        threading.Thread(target=self._keep_watch, daemon=True).start()
        try:
            self._await_first()
        except UserError:
            self.close()
            raise

    @property
    def all(self) -> list[Member]:
        """Those that are there, by host and address."""
        with self._changed:
            return sorted(self._members.values(), key=lambda each: (each.host, each.address))

    @property
    def judging(self) -> int:
        """How many judge."""
        return sum(not each.refusal for each in self.all)

    @property
    def over(self) -> bool:
        """Whether nobody looks at them any more."""
        return self._over.is_set()

    def __str__(self) -> str:
        """`3 on 2 machines: lion, tiger (2)`."""
        hosts = Counter(each.host for each in self.all)
        named = [f"{name} ({count})" if count > 1 else name for name, count in hosts.items()]
        machines = f"{len(hosts)} machine{'s' * (len(hosts) != 1)}"
        return f"{sum(hosts.values())} on {machines}: {', '.join(named)}"

    def admit(self, wanted: Wanted) -> None:
        """Decide who judges, of those that are there and of those that come."""
        with self._changed:
            self._wanted = wanted
            for each in self._members.values():
                each.refusal = wanted.refusal(each.info, each.facts)
            self._changed.notify_all()

    def close(self) -> None:
        """Look no more; who waits for a worker gets none."""
        self._over.set()
        with self._changed:
            self._changed.notify_all()

    @contextlib.contextmanager
    def lend(self, tried: set[str]) -> Iterator[Member]:
        """A worker for this thread alone; rather one that was not tried.

        Raises:
            UserError: none judges, with why.
            Lost: nobody looks at them any more.
        """
        since = time.monotonic()
        with self._changed:
            while not (found := self._free()):
                if self.over:
                    raise Lost("it was ended")
                if self._any_joins() or any(not each.refusal for each in self._members.values()):
                    since = time.monotonic()
                # One that judged may come back, as those do that a nanny starts anew.
                elif self._members and not self._any_judged or time.monotonic() - since > PATIENCE:
                    if self._members or not connection.more_come(self._client):
                        raise self._nobody()
                    since = time.monotonic()
                self._changed.wait(LOOK)
            member = min(found, key=lambda each: each.address in tried)
            member.busy = self._any_judged = True
        try:
            yield member
        finally:
            with self._changed:
                member.busy = False
                self._changed.notify_all()

    def answers(self) -> bool:
        """Whether the scheduler does, after the time that a broken connection has to come back."""
        end = time.monotonic() + RECONNECT
        while self._client.status != "running":
            if self._client.status != "connecting" or time.monotonic() > end:
                return False
            time.sleep(LOOK)
        return True

    def _any_joins(self) -> bool:
        """Whether somebody is asked who it is, and not silent for long."""
        late = time.monotonic() - PATIENCE - JOINING
        return any(asked > late for asked in self._joining.values())

    def _free(self) -> list[Member]:
        return [e for e in self._members.values() if not (e.busy or e.refusal or e.gone)]

    def _nobody(self) -> UserError:
        said = [f"{each.host}: {each.refusal}" for each in self._members.values()]
        cause = "; ".join(dict.fromkeys(said)) or f"there was none for {PATIENCE:g} s"
        return UserError.of("no worker judges", cause, "see docs/cluster.md")

    def _keep_watch(self) -> None:
        while not self._over.wait(WATCH):
            # Whether the scheduler is gone is asked elsewhere.
            with contextlib.suppress(Exception):
                self._look(connection.identity(self._client)["workers"])

    def _look(self, infos: dict[str, dict[str, Any]]) -> None:
        with self._changed:
            for address in self._members.keys() - infos.keys():
                self._members.pop(address).gone = True
            fresh = {
                address: {**info, "address": address}
                for address, info in infos.items()
                if address not in self._members and address not in self._joining
            }
            self._joining |= dict.fromkeys(fresh, time.monotonic())
            self._changed.notify_all()
        for address, info in fresh.items():
            threading.Thread(target=self._join, args=(address, info), daemon=True).start()

    def _join(self, address: str, info: dict[str, Any]) -> None:
        try:
            facts = self._client.run(remote.join, *self._about, workers=[address])[address]
        except Exception:
            # It is asked once more when it is seen again.
            facts = None
        with self._changed:
            if facts is not None:
                member = Member(address, info, facts)
                if self._wanted is not None:
                    member.refusal = self._wanted.refusal(info, facts)
                self._members[address] = member
            self._joining.pop(address, None)
            self._changed.notify_all()

    def _await_first(self) -> None:
        """Wait for those that are there; those that are slow to join come later.

        Raises:
            UserError: there are none, or the scheduler is gone.
        """
        begun = time.monotonic()
        while True:
            with self._changed:
                if self._all_joined():
                    return
                self._changed.wait(LOOK)
                some, joining = bool(self._members), bool(self._joining)
            patience = PATIENCE + JOINING * (joining and not some)
            if not self.answers():
                raise GONE
            if time.monotonic() - begun > patience:
                break
        if not some:
            raise UserError.of(
                "the scheduler",
                f"has no worker that answers within {patience:g} s",
                "start one on every machine, see docs/cluster.md",
            )

    def _all_joined(self) -> bool:
        return bool(self._members) and not self._joining
