"""The processes that `torchrun` started for a training, on one machine or on several.

Each of them runs the same command. They meet in the store that torchrun made for them: each says
there what it sees, and nobody waits for the others before all have come and see the same, since
who waits for somebody who never comes waits half an hour. Who fails alone says why in the store,
and the first process tells it, so that a person reads one line.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.submissions.runs import alike
from challenge.submissions.runs.processes import CONTINUE

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

PATIENCE = 300.0
"""Seconds in which all have to come; they import from a file system that may be slow."""
ANSWER = 60.0
"""Seconds for torchrun's store to answer."""
LAST_WORDS = 1.0
"""Seconds for what another process says of its failure; it says it before it leaves."""
_POLL = 0.05
_trainings = 0
"""Of this process so far; what they say of each other is kept apart in the store."""


class Gone(UserError):
    """Another process is gone without a word, or out of reach; raised in one that tells it."""


@dataclass(frozen=True)
class Seat:
    """The place of this process among those that torchrun started."""

    rank: int
    count: int
    local_rank: int
    local_count: int

    @property
    def nodes(self) -> int:
        """Machines, if each has as many processes as this one."""
        return max(1, self.count // self.local_count)


def seat() -> Seat | None:
    """The place of this process; None where torchrun did not start it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Seat(*(int(os.environ[name]) for name in names))


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Leave it to the first process to say what is wrong; others tell it, and end.

    Raises:
        SystemExit: this is not the first process, and a mistake of the user's was found.
    """
    global _trainings
    place = seat()
    if place is None or place.count == 1:
        yield
        return
    try:
        yield
    except (Gone, SystemExit):
        raise
    except BaseException as error:
        peers = Peers(place)
        if place.rank == 0:
            peers.set("over", "no")
            raise
        told = peers.tell(error)
        if told and isinstance(error, UserError | KeyboardInterrupt):
            raise SystemExit(1) from None
        raise
    finally:
        _trainings += 1


class Peers:
    """The others, as a process that torchrun started sees them."""

    def __init__(self, place: Seat) -> None:
        self._place, self._prefix = place, f"challenge/{_trainings}"

    def meet(self, backend: str, facts: Mapping[str, str]) -> None:
        """Wait until all have come to this place, compare what they see, and join them.

        Args:
            backend: torch's name of it.
            facts: what has to be the same for all, by its name in the message.

        Raises:
            UserError: in the first process: one does not come, why it failed, what differs.
            SystemExit: in the others, then.
            Gone: the others cannot be reached.
        """
        self._must_answer()
        own = {**facts, "number of processes": str(self._place.local_count)}
        self.set("host", socket.gethostname())
        self._set(f"facts/{self._place.rank}", json.dumps(own))
        if self._place.rank == 0:
            try:
                self._compare(own)
            except BaseException:
                self.set("over", "no")
                raise
            self._set("go", "yes")
        else:
            self._wait_for_the_first()
        self._join(backend)

    def _must_answer(self) -> None:
        try:
            _store()
        except RuntimeError:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise Gone.of(
                f"the store of torchrun at {where}",
                f"does not answer within {ANSWER:g} s on {socket.gethostname()}",
                "name each machine's address with `torchrun --local-addr ADDRESS`",
            ) from None

    def _compare(self, own: dict[str, str]) -> None:
        for rank in range(1, self._place.count):
            theirs = json.loads(self._come(rank))
            alike.check(self._name(rank), theirs, own)

    def _come(self, rank: int) -> str:
        """What a process sees, as soon as it has come."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if why := self._first_why():
                raise why
            if found := self._get(f"facts/{rank}"):
                return found
            time.sleep(_POLL)
        raise UserError.of(
            self._name(rank), f"has not come within {PATIENCE:g} s", "see what its node says"
        )

    def _wait_for_the_first(self) -> None:
        end = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < end:
            try:
                if self._get("go"):
                    return
                if self.get("over", 0):
                    raise SystemExit(1)
            except OSError:
                break
            time.sleep(_POLL)
        raise Gone.of(self._name(0), "is gone", CONTINUE)

    def _join(self, backend: str) -> None:
        import torch.distributed
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]

        if sys.platform == "linux" and (found := _interface(self._place)):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", found)
        torch.distributed.init_process_group(
            backend,
            store=PrefixStore(f"{self._prefix}/group", _store()),
            world_size=self._place.count,
            rank=self._place.rank,
        )

    def abandon(self, error: BaseException, *, of_another: bool) -> UserError | None:
        """Tell the others that this process ends.

        Args:
            error: why.
            of_another: whether it follows from the end of another process.

        Returns:
            What this process has to say of another one; None where it has nothing to.
        """
        # Torchrun ends those that are left as soon as one has failed; a line is worth a second.
        with _deaf():
            self.set("over", "no")
            if not of_another:
                if self._place.rank:
                    self.tell(error)
                return None
            if self._place.rank == 0:
                return self._failure()
            return self._in_place_of_the_first()

    def _failure(self) -> UserError:
        """Why another process failed, which this one, the first, noticed."""
        end = time.monotonic() + LAST_WORDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if why := self._first_why():
                    return why
            time.sleep(_POLL)
        return self._gone()

    def _gone(self) -> UserError:
        """Who is gone: those who do not say that they end."""
        silent = []
        with contextlib.suppress(OSError):
            silent = [each for each in range(self._place.count) if not self.get("over", each)]
        names = " and ".join(map(self._name, silent)) or "another process"
        return Gone.of(names, "is gone" if len(silent) < 2 else "are gone", CONTINUE)

    def _in_place_of_the_first(self) -> UserError | None:
        """What the first process would say, were it there; one of the others says it."""
        end = time.monotonic() + 2 * LAST_WORDS
        try:
            while time.monotonic() < end:
                if self.get("over", 0):
                    return None
                time.sleep(_POLL)
            speaks = _store().add(f"{self._prefix}/speaker", 1) == 1
        except (OSError, RuntimeError):
            speaks = self._place.local_rank == 0
        return self._gone() if speaks else None

    def _first_why(self) -> UserError | None:
        for rank in range(1, self._place.count):
            if said := self.get("why", rank):
                return UserError.of(self._name(rank), said, "")
        return None

    def tell(self, error: BaseException) -> bool:
        """Say in the store why this process failed; whether it could be said."""
        why = " ".join(str(error).split())[:4000] or type(error).__name__
        return self.set("host", socket.gethostname()) and self.set("why", why)

    def set(self, word: str, value: str) -> bool:
        """Say something of this process; whether there is a store to say it in."""
        with contextlib.suppress(OSError):
            self._set(f"{word}/{self._place.rank}", value)
            return True
        return False

    def get(self, word: str, rank: int) -> str:
        """What a process says; empty where it says nothing.

        Raises:
            OSError: the store is gone.
        """
        return self._get(f"{word}/{rank}")

    def _name(self, rank: int) -> str:
        host = ""
        with contextlib.suppress(OSError):
            host = self.get("host", rank)
        return f"process {rank + 1} of {self._place.count}" + (f" on {host}" if host else "")

    def _set(self, key: str, value: str) -> None:
        with _errors():
            _store().set(f"{self._prefix}/{key}", value)

    def _get(self, key: str) -> str:
        with _errors():
            whole = f"{self._prefix}/{key}"
            return _store().get(whole).decode() if _store().check([whole]) else ""


@functools.cache
def _store() -> Store:
    """Torchrun's, or one of the first process's where torchrun made none."""
    from torch.distributed.rendezvous import rendezvous

    found = rendezvous("env://", timeout=timedelta(seconds=ANSWER))
    store: Store = next(iter(found))[0]
    store.set_timeout(timedelta(seconds=PATIENCE))
    return store


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """A store that is gone is an `OSError`."""
    try:
        yield
    except RuntimeError as error:  # torch's own errors of connections among them
        raise OSError(str(error)) from None


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """SIGTERM and SIGINT are not heard; in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interface(place: Seat) -> str | None:
    """The network interface that leads to the others; None where the system may choose.

    Gloo takes the address of the machine's name otherwise, which is often one that the others
    cannot reach.
    """
    import psutil

    if place.nodes == 1:
        return "lo"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    with contextlib.suppress(OSError):
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as looking:
            looking.connect(address)  # sends nothing
            mine = looking.getsockname()[0]
        for name, addresses in psutil.net_if_addrs().items():
            if name != "lo" and any(each.address == mine for each in addresses):
                return name
    return None
