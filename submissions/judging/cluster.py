"""Many entries on many machines: the workers of a Dask scheduler run them, here they are judged.

Intake, truth, key, scorer and results stay in this process; a worker gets an entry's bytes, the
measurements and the policy, and returns arrays, times, log and facts. Which worker runs which entry
is decided here: one at a time each, never two for one entry. Dask carries and keeps watch. A worker
that is lost is our fault: its entry is run by another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.schema.challenge import Limits
from challenge.data.layout import Workspace
from challenge.methods import syntax
from challenge.submissions.inference.repeat import Repeat
from challenge.submissions.inference.supervisor import Inference, JudgeFault, Step
from challenge.submissions.jail.levels import LEVELS, Level
from challenge.submissions.jail.probe import choose
from challenge.submissions.judging import admission, cores, originals, remote, roster
from challenge.submissions.judging.admission import Wanted
from challenge.submissions.judging.judge import Judge, Rejudge
from challenge.submissions.judging.load import Load
from challenge.submissions.judging.members import GONE, LOOK, Lost, Member, Members
from challenge.submissions.judging.reference import Reference, is_decided
from challenge.submissions.judging.result import Where
from challenge.submissions.judging.run import OnStep, Order, Ran, run_here
from challenge.submissions.judging.worker import Judged, judge_one
from challenge.submissions.scoring.scores import Scorers

if TYPE_CHECKING:
    from distributed import Client

    from challenge.submissions.judging.pool import OnStep as OnEntryStep

ATTEMPTS = 3
"""Workers that may be lost with an entry before it is given up, without a verdict."""
ENTRY = "entry-"
"""Of the names of files that are entries; others are called by their digests."""
AHEAD = 2
"""Entries in hand for each worker: one runs, another one is taken in or scored meanwhile."""


class Cluster:
    """The workers of a scheduler that judge for one challenge."""

    def __init__(
        self,
        client: Client,
        workspace: Workspace,
        limits: Limits,
        *,
        same_kind: bool = False,
        own_cores: bool = True,
    ) -> None:
        """Ask all workers that are there who they are.

        Args:
            client: of the scheduler.
            workspace: where this machine's speed is kept.
            limits: the challenge's; an entry has so many cores.
            same_kind: whether a worker's processor must be of the organiser's kind.
            own_cores: whether a worker must have cores of its own; entries that only wait need
                none.

        Raises:
            UserError: there are no workers.
        """
        self.client, self._threads = client, limits.threads
        self._own_cores, self._same_kind = own_cores, same_kind
        self._facts = remote.facts()
        self._closed: list[tuple[int, str]] = []
        self._topic = f"challenge-{secrets.token_hex(8)}"
        self._steps: dict[str, OnStep] = {}
        self._here = threading.local()
        self._hosts: dict[Path, str] = {}
        self._reference = Reference(workspace, limits.threads)
        self.members = Members(
            client,
            threads=self._threads,
            own_cores=own_cores,
            organiser=self._facts["identity"],
        )
        client.subscribe_topic(self._topic, self._on_event)

    def host(self, entry: Path) -> str:
        """The machine that an entry runs on, or ran on last; empty for none."""
        return self._hosts.get(entry, "")

    def level(self, asked: str | None) -> Level:
        """The level of isolation for all: as asked, or the lowest of the machines that may judge.

        Those that judge at no level, for how they were started or what they judge with, do not
        lower it for the others.

        Raises:
            UserError: as `choose`, for this machine, and where no worker holds enough.
        """
        own = choose.choose(asked, official=True)
        if asked is not None:
            return own
        there = self.members.all
        able = [
            each
            for each in there
            if not self._wanted(each.facts["level"]).refusal(each.info, each.facts)
        ]
        lowest = admission.lowest([each.facts for each in able or there])
        return min(own, lowest, key=LEVELS.index)

    def close(self) -> None:
        """Take no more part; what runs is ended by its worker."""
        self.members.close()
        with contextlib.suppress(Exception):
            self.client.unsubscribe_topic(self._topic)

    def judge_all(
        self,
        judge: Judge,
        entries: Sequence[Path],
        *,
        rejudge: Rejudge = "none",
        progress: OnEntryStep | None = None,
    ) -> Iterator[Judged]:
        """As `pool.judge_all`, on all workers that may judge; they may come and go.

        Raises:
            UserError: no worker may judge, with why; the scheduler is gone; or as there.
        """
        self._open(judge)
        # Several threads of this process take entries in and read what workers made.
        syntax.guard_threads()
        with Scorers() as scorers:
            judge = replace(judge, runs=self._run, scores=scorers.score_images)
            yield from self._judge_all(judge, entries, rejudge, progress)

    def _judge_all(
        self,
        judge: Judge,
        entries: Sequence[Path],
        rejudge: Rejudge,
        progress: OnEntryStep | None,
    ) -> Iterator[Judged]:
        todo, answers = deque(entries), queue.Queue[Any]()

        def work() -> None:
            while not self.members.over:
                try:
                    entry = todo.popleft()
                except IndexError:
                    return
                self._here.entry = entry
                try:
                    answers.put(judge_one(judge, entry, rejudge, _to(answers, entry)))
                except BaseException as error:
                    answers.put(error)

        threads: list[threading.Thread] = []
        left = len(entries)
        try:
            while left:
                wished = AHEAD * max(1, self.members.judging)
                while len(threads) < min(wished, len(entries)):
                    threads.append(threading.Thread(target=work, daemon=True))
                    threads[-1].start()
                try:
                    answer = answers.get(timeout=LOOK)
                except queue.Empty:
                    if not self.members.answers():
                        raise GONE from None
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                if isinstance(answer, Judged):
                    left -= 1
                    yield answer
                elif progress is not None:
                    progress(*answer)
        finally:
            self.close()
            end = time.monotonic() + 10
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))

    def _open(self, judge: Judge) -> None:
        """Decide who judges."""
        self._closed = originals.prints(judge.hidden)
        self.members.admit(self._wanted(judge.jail.level))

    def _wanted(self, level: Level) -> Wanted:
        return Wanted(
            toolkit=self._facts["toolkit"],
            kind=self._facts["kind"],
            same_kind=self._same_kind,
            system=self._facts["system"],
            level=level,
            threads=self._threads,
            own_cores=self._own_cores,
        )

    def _run(self, order: Order, made: Path, progress: OnStep | None) -> Ran:
        """Run an entry on a worker; on this machine too, where that one's time decides nothing."""
        tried: set[str] = set()
        reasons = []
        for _ in range(ATTEMPTS):
            try:
                with self.members.lend(tried) as member:
                    tried.add(member.address)
                    self._hosts[self._here.entry] = member.host
                    ran = self._run_on(member, order, made, progress)
                break
            except Lost as lost:
                if self.members.over or not self.members.answers():
                    raise GONE from None
                reasons.append(str(lost))
        else:
            raise JudgeFault(f"{ATTEMPTS} workers were lost: {'; '.join(reasons)}")
        if is_decided(ran, order.limits.minutes * 60):
            return ran
        with self._reference.turn:
            self._hosts[self._here.entry] = self._facts["host"]
            _empty(made)
            with cores.alone(self._threads):
                here = run_here(order, made, progress)
        return replace(here, where=Where(host=self._facts["host"], reference=True))

    def _run_on(self, member: Member, order: Order, made: Path, progress: OnStep | None) -> Ran:
        """Run an entry on a worker, and write its arrays.

        Raises:
            Lost: the worker is gone, or failed us.
        """
        key = roster.key_of(order.name, secrets.token_hex(4))
        request, files = self._request(member, order)
        if progress is not None:
            self._steps[key] = progress
        try:
            answer = self._asked(member, key, request, files)
        finally:
            self._steps.pop(key, None)
        for name, content in answer["arrays"].items():
            path = made / name
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise Lost(f"{member.host} sent a file `{name}`")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return self._ran(member, answer, len(order.measurements))

    def _request(self, member: Member, order: Order) -> tuple[dict[str, Any], dict[str, Path]]:
        """What is asked of a worker, and the files that it speaks of, by name."""
        files, measured = {}, {}
        for path in order.measurements:
            measured[path.stem] = self._digest(path)
            files[measured[path.stem]] = path
        runner = self._digest(order.jail.runner)
        # Another name each time: two organisers may have one entry judged by one worker.
        entry = f"{ENTRY}{secrets.token_hex(8)}"
        files |= {runner: order.jail.runner, entry: order.entry}
        request = {
            "entry": entry,
            "runner": runner,
            "name": order.name,
            "measurements": measured,
            "limits": order.limits.model_dump(mode="json"),
            "level": order.jail.level,
            "permitted": sorted(order.jail.permitted or ()),
            "closed": self._closed,
            "repeats": order.repeats,
            "cores": member.facts["cores"],
        }
        return request, files

    @staticmethod
    def _digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _asked(
        self, member: Member, key: str, request: dict[str, Any], files: dict[str, Path]
    ) -> dict[str, Any]:
        """A worker's answer to a request, after it was given the files that it lacks."""
        try:
            for name, path in files.items():
                if name not in member.has:
                    content, there = {name: path.read_bytes()}, [member.address]
                    self.client.run(remote.keep, content, workers=there)
                    if not name.startswith(ENTRY):
                        member.has.add(name)
            future = self.client.submit(
                remote.infer,
                key,
                self._topic,
                request,
                key=key,
                workers=[member.address],
                resources={"judge": 1},
                retries=0,
                pure=False,
            )
            try:
                return _result(future, lambda: member.gone or self.members.over)
            finally:
                with contextlib.suppress(Exception):
                    future.cancel()
        except remote.Missing:
            member.has.clear()
            raise Lost(f"{member.host} lost its files") from None
        except Exception as error:
            said = str(error).strip() or type(error).__name__
            raise Lost(f"{member.host}: {said}") from error

    def _on_event(self, event: tuple[float, Any]) -> None:
        """What a worker says of a reconstruction that is done."""
        message = event[1]
        step = self._steps.get(message["key"])
        if step is not None:
            step(Step(**message["step"]))

    def _ran(self, member: Member, answer: dict[str, Any], planned: int) -> Ran:
        inference = Inference(**{**answer["inference"], "broken": ()})
        second = answer["second"]
        if second:
            second = Repeat(**{**second, "once": tuple(second["once"])})
        here = member.facts["identity"] == self._facts["identity"]
        where = Where(
            host=member.host,
            reference=here,
            same_kind=member.facts["kind"] == self._facts["kind"],
            projected=None
            if here
            else self._reference.projected(
                member.facts["speed"],
                inference.start_up,
                list(inference.seconds.values()),
                planned,
            ),
        )
        return Ran(
            inference=inference,
            load=Load(**answer["load"]),
            second=second,
            machine=answer["machine"],
            versions=answer["versions"],
            where=where,
        )


def _result(future: Any, is_lost: Callable[[], bool]) -> dict[str, Any]:
    """What a task returned, which is fetched as long as its worker is there; else what it raised.

    Raises:
        ConnectionError: the worker is lost.
    """
    found: queue.Queue[Any] = queue.Queue()

    def fetch() -> None:
        try:
            found.put(future.result())
        except BaseException as error:
            found.put(error)

    threading.Thread(target=fetch, daemon=True).start()
    while True:
        try:
            answer = found.get(timeout=LOOK)
        except queue.Empty:
            if is_lost():
                raise ConnectionError("it is gone") from None
            continue
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


def _to(answers: queue.Queue[Any], entry: Path) -> OnStep:
    return lambda step: answers.put((entry, step))


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
