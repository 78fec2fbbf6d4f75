"""Many entries on one machine: one entry per worker, each worker on cores of its own.

A worker is a process that judges one entry after the other and writes their verdicts itself. So
whoever dies, the one who hands out entries or one who judges, what was judged is written, and the
rest is judged by whoever comes next.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import Mistake, UserError
from challenge.submissions import machine
from challenge.submissions.inference.supervisor import Step
from challenge.submissions.judging.judge import Judge, Rejudge
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.worker import Judged, judge_one

if TYPE_CHECKING:
    from challenge.submissions.judging.cluster import Cluster

ATTEMPTS = 2
"""How often an entry is handed out: a worker that dies once may have been killed by anybody."""
OnStep = Callable[[Path, Step], None]


def shares(workers: int, threads: int) -> list[set[int]]:
    """Disjoint sets of cores, `threads` for each worker; empty sets where cores are unknown.

    Raises:
        UserError: there are not enough.
    """
    available, known = machine.core_numbers(), machine.cores()
    if workers * threads > known:
        raise UserError.of(
            f"--workers {workers}",
            f"needs {workers * threads} cores, {threads} for each entry; there are {known}",
            f"at most {max(1, known // threads)} here",
        )
    return [set(available[i * threads : (i + 1) * threads]) for i in range(workers)]


def judge_all(
    judge: Judge,
    entries: Sequence[Path],
    *,
    workers: int = 1,
    rejudge: Rejudge = "none",
    progress: OnStep | None = None,
    cluster: Cluster | None = None,
) -> Iterator[Judged]:
    """Judge entries, several at a time; what became of each, in the order in which they end.

    Args:
        judge: what is the same for all.
        entries: the zips.
        workers: entries at a time.
        rejudge: judge also where a verdict stands: every one, or one that is in doubt.
        progress: called after every reconstruction.
        cluster: whose workers run the entries, on other machines too; `workers` is then theirs.

    Raises:
        UserError: there are not enough cores, or an entry's file is not there.
    """
    if cluster is not None:
        yield from cluster.judge_all(judge, entries, rejudge=rejudge, progress=progress)
        return
    if workers == 1:
        for entry in entries:
            step = None if progress is None else _for_entry(progress, entry)
            yield judge_one(judge, entry, rejudge, step)
        return
    sets = shares(min(workers, max(1, len(entries))), judge.challenge.config.limits.threads)
    pool = _Pool(judge, sets, rejudge)
    try:
        yield from pool.run(entries, progress)
    finally:
        pool.close()


def _for_entry(progress: OnStep, entry: Path) -> Callable[[Step], None]:
    return lambda step: progress(entry, step)


class _Worker:
    """A process that judges, and the thread that reads its answers."""

    def __init__(
        self, judge: Judge, share: set[int], answers: queue.Queue[tuple[_Worker, dict[str, Any]]]
    ) -> None:
        self.share = share
        self.entry: Path | None = None
        opening = {
            "workspace": str(judge.workspace.path.resolve()),
            "challenge": str(judge.challenge.path.resolve()),
            "hidden": str(judge.hidden.path.resolve()),
            "level": judge.jail.level,
            "runner": str(judge.jail.runner.resolve()),
            "repeats": judge.repeats,
            "cores": sorted(share),
        }
        command = [sys.executable, "-I", "-m", "challenge.submissions.judging.worker"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the one who hands out entries; this one ends with it.
            start_new_session=True,
        )
        self._answers = answers
        self.send(opening)
        threading.Thread(target=self._read_answers, daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def assign(self, entry: Path, rejudge: Rejudge) -> None:
        self.entry = entry
        self.send({"entry": str(entry.resolve()), "rejudge": rejudge})

    def close(self) -> None:
        """End it; the process that it judges with dies with it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read_answers(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self.process.stdout:
                self._answers.put((self, json.loads(line)))
        self._answers.put((self, {"ended": True}))


class _Pool:
    """The workers of one call of `judge_all`."""

    def __init__(self, judge: Judge, sets: list[set[int]], rejudge: Rejudge) -> None:
        self._judge, self._rejudge = judge, rejudge
        self._answers: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self._workers = [_Worker(judge, share, self._answers) for share in sets]

    def run(self, entries: Sequence[Path], progress: OnStep | None) -> Iterator[Judged]:
        waiting = deque(entries)
        tries = dict.fromkeys(entries, 0)
        for worker in self._workers:
            self._assign_next(worker, waiting, tries)
        while any(worker.entry is not None for worker in self._workers):
            worker, message = self._answers.get()
            entry = worker.entry
            if worker not in self._workers:
                continue
            if "ended" in message:
                worker.close()
                self._workers.remove(worker)
                if entry is None:
                    continue
                if tries[entry] >= ATTEMPTS:
                    code = worker.process.returncode
                    yield Judged(entry, None, fault=f"its worker ended {ATTEMPTS} times ({code})")
                else:
                    waiting.appendleft(entry)
                fresh = _Worker(self._judge, worker.share, self._answers)
                self._workers.append(fresh)
                self._assign_next(fresh, waiting, tries)
            elif "step" in message:
                if progress is not None and entry is not None:
                    progress(entry, Step(**message["step"]))
            elif entry is not None:
                if "refused" in message:
                    raise UserError(*(Mistake(*each) for each in message["refused"]))
                result = message["result"] and Result.model_validate(message["result"])
                yield Judged(entry, result, message["fresh"], message["fault"])
                self._assign_next(worker, waiting, tries)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _assign_next(self, worker: _Worker, waiting: deque[Path], tries: dict[Path, int]) -> None:
        worker.entry = None
        if waiting:
            entry = waiting.popleft()
            tries[entry] += 1
            worker.assign(entry, self._rejudge)
