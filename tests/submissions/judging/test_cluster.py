"""Workers of Dask judge as this process does, get nothing secret, and may be lost."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data.challenges.challenge import Challenge
from challenge.data.images import codec
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.inference import speed
from challenge.submissions.jail import levels
from challenge.submissions.jail.probe import choose, probe
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging import (
    board,
    cluster,
    connection,
    cores,
    pool,
    remote,
    result_files,
    roster,
)
from challenge.submissions.judging.cluster import Cluster
from challenge.submissions.judging.judge import Judge, open_judge
from challenge.submissions.judging.members import Member
from tests.submissions.judging.boards import board_but_for_times, speed_here
from tests.submissions.judging.echoed import entry_of

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores"),
    pytest.mark.skipif(os.name != "posix", reason="judging is promised on Linux"),
]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A scheduler with two workers, for all tests: it takes seconds to start."""
    with connection.connect("local", workers=2) as made:
        yield made


@pytest.fixture
def judge(place: Workspace, challenge: Challenge) -> Judge:
    runner = HERE.parent / "echo_runner.py"
    level = "landlock" if not probe.works("landlock") else "process"
    return open_judge(place, challenge, place.hidden("tiny"), None, level=level, runner=runner)


@pytest.fixture
def workers(client: Any, place: Workspace, challenge: Challenge) -> Iterator[Cluster]:
    made = Cluster(client, place, challenge.config.limits)
    yield made
    made.close()


def test_own_workers_take_no_profile_of_what_is_timed(client: Any) -> None:
    kept = client.run(lambda dask_worker: list(dask_worker.periodic_callbacks))
    assert len(kept) == 2
    assert not any(name.startswith("profile") for each in kept.values() for name in each)


class _Sent:
    """Everything that leaves this process for another one of Dask's, as bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from distributed.comm import tcp

        self.frames: list[bytes] = []
        true = tcp.to_frames

        async def to_frames(*arguments: Any, **options: Any) -> Any:
            frames = await true(*arguments, **options)
            self.frames += [bytes(each) for each in frames]
            return frames

        monkeypatch.setattr(tcp, "to_frames", to_frames)

    def has(self, content: bytes) -> bool:
        return any(content in each for each in self.frames)


@pytest.mark.skipif(sys.platform != "linux", reason="masks of others are in /proc")
def test_workers_never_see_ctrl_c_which_a_terminal_sends_to_all(client: Any) -> None:
    """So none of them shows a traceback; this process ends them."""
    for process in client.run(os.getpid).values():
        status = Path(f"/proc/{process}/status").read_text()
        (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", status, re.M)
        assert int(blocked, 16) >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_dask_says_nothing_in_words_of_its_own(client: Any) -> None:
    names = [each for each in logging.root.manager.loggerDict if each.startswith("distributed")]
    assert {"distributed.client", "distributed.core"} <= {*names}
    assert not [each for each in names if logging.getLogger(each).isEnabledFor(logging.CRITICAL)]


def test_nothing_but_this_machine_reaches_a_scheduler_of_its_own(client: Any) -> None:
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        listens = [each for each in _sockets(process) if each.status == psutil.CONN_LISTEN]
        assert {each.laddr.ip for each in listens} <= {"127.0.0.1", "::1"}


def _sockets(process: psutil.Process) -> list[Any]:
    try:
        return list(process.net_connections(kind="inet"))
    except psutil.Error:
        return []


def test_workers_judge_what_this_process_judges_and_get_nothing_secret(
    make_entry: Callable[..., Path],
    judge: Judge,
    place: Workspace,
    challenge: Challenge,
    workers: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [entry_of(make_entry, name) for name in ("a", "spread")]
    for _ in pool.judge_all(judge, entries):
        pass
    alone = board_but_for_times(place, challenge)
    sent, steps = _Sent(monkeypatch), list[tuple[str, str]]()
    found = list(
        pool.judge_all(
            judge,
            entries,
            rejudge="all",
            progress=lambda entry, step: steps.append((entry.stem, step.id)),
            cluster=workers,
        )
    )
    assert not any(each.fault for each in found), found
    assert sorted(each.entry for each in found) == entries
    assert board_but_for_times(place, challenge) == alone
    identities = judge.hidden.ids()
    assert sorted(steps) == sorted((each.stem, image) for each in entries for image in identities)
    for each in found:
        assert each.result is not None and each.result.where is not None
        assert each.result.where.reference and each.result.machine == machine.describe()
        assert (each.result.calibration is not None) == ("spread" in each.entry.stem)
    # What is sent is seen: entries and measurements are in it, of truth and key nothing.
    assert all(sent.has(each.read_bytes()) for each in entries)
    assert all(sent.has(judge.hidden.measurement(each).read_bytes()) for each in identities)
    assert not sent.has(judge.hidden.key.read_bytes())
    for identity in identities:
        path = judge.hidden.image(identity)
        pixels = codec.stored(path)
        truth = np.ascontiguousarray(codec.to_unit(pixels), dtype=np.float32)
        row = truth.shape[-1]
        assert not sent.has(path.read_bytes()[100:200])
        assert not sent.has(truth.tobytes()[: 4 * row])
        assert not sent.has(np.ascontiguousarray(pixels).tobytes()[:row])


@pytest.mark.slow
def test_threads_are_the_challenges_whatever_dask_sets(
    make_entry: Callable[..., Path], judge: Judge, client: Any, place: Workspace
) -> None:
    limits = judge.challenge.config.limits.model_copy(update={"threads": 3})
    config = judge.challenge.config.model_copy(update={"limits": limits})
    wider = copy(judge.challenge)
    wider.config = config
    judge = replace(judge, challenge=wider)
    set_by_dask = client.run(os.environ.get, "OMP_NUM_THREADS")
    assert set(set_by_dask.values()) == {"1"}
    workers = Cluster(client, place, limits, own_cores=False)
    (found,) = pool.judge_all(judge, [entry_of(make_entry, "threads")], cluster=workers)
    assert found.result and "3 3 3" in found.result.log


def test_no_worker_seems_to_be_gone_while_others_ask_who_is_there(client: Any) -> None:
    """`Client.scheduler_info` hands on what was asked last, by anybody, with no workers in it."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            client.scheduler_info(n_workers=0)

    other = threading.Thread(target=ask)
    other.start()
    try:
        seen = {len(connection.identity(client)["workers"]) for _ in range(100)}
    finally:
        over.set()
        other.join()
    assert seen == {2}


def test_workers_have_cores_of_their_own_and_no_memory_limit(
    client: Any, place: Workspace, challenge: Challenge, workers: Cluster
) -> None:
    first, second = workers.members.all
    assert len(first.facts["cores"]) == len(second.facts["cores"]) == 1
    assert first.facts["cores"] != second.facts["cores"]
    for each in (first, second):
        info = each.info
        assert (info["nthreads"], info["memory_limit"], info["resources"]) == (1, 0, {"judge": 1})
    three = Cluster(client, place, Limits(threads=3))
    assert all(len(each.facts["cores"]) < 3 for each in three.members.all)
    three.close()


def test_a_worker_that_fails_us_gives_no_verdict(
    make_entry: Callable[..., Path], judge: Judge, place: Workspace, workers: Cluster
) -> None:
    # An entry that could end the judge's own process: at other levels nothing lets it.
    jail = Jail("process", judge.jail.runner, permitted=judge.jail.permitted)
    judge = replace(judge, jail=jail)
    entries = [entry_of(make_entry, "assassin"), entry_of(make_entry, "a")]
    found = {each.entry.stem: each for each in pool.judge_all(judge, entries, cluster=workers)}
    assert found["alpha-a"].result
    assert found["alpha-assassin"].result is None
    assert f"{cluster.ATTEMPTS} workers were lost" in found["alpha-assassin"].fault
    assert len(result_files.read_all(place)) == 1


def test_of_memory_our_watch_is_the_limit_and_the_worker_stays(
    make_entry: Callable[..., Path], judge: Judge, client: Any, workers: Cluster
) -> None:
    before = client.run(os.getpid)
    config = judge.challenge.config
    limits = config.limits.model_copy(update={"memory_gb": 0.3})
    challenge = copy(judge.challenge)
    challenge.config = config.model_copy(update={"limits": limits})
    judge = replace(judge, challenge=challenge)
    (found,) = pool.judge_all(judge, [entry_of(make_entry, "hungry")], cluster=workers)
    assert found.result is not None and found.result.outcome == "out_of_memory", found
    assert client.run(os.getpid) == before, "Dask ends no worker for what its entry holds"


@pytest.mark.slow
def test_the_entry_of_a_worker_that_is_killed_is_run_by_another_one(
    make_entry: Callable[..., Path], judge: Judge, place: Workspace, workers: Cluster
) -> None:
    entry, killed = entry_of(make_entry, "slow"), list[int]()

    def kill(*_: Any) -> None:
        if not killed:
            (busy,) = [each for each in workers.members.all if each.busy]
            killed.append(busy.facts["process"])
            os.kill(killed[0], signal.SIGKILL)

    (found,) = pool.judge_all(judge, [entry], progress=kill, cluster=workers)
    assert killed and found.result and found.result.outcome == "ok"
    assert len(result_files.read_all(place)) == 1


def test_who_may_not_judge_does_not_lower_the_level(
    workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "choose", lambda asked, official: "bubblewrap")
    true = workers.members.all[0]

    def member(level: str, **info: Any) -> Member:
        facts = {**true.facts, "level": level, "reasons": dict.fromkeys(levels.LEVELS, "")}
        return Member(true.address, {**true.info, **info}, facts)

    for there, expected in [
        ([member("bubblewrap"), member("landlock", nthreads=4)], "bubblewrap"),
        ([member("bubblewrap"), member("landlock")], "landlock"),
        ([member("landlock", nthreads=4)], "landlock"),
    ]:
        monkeypatch.setattr(workers, "members", SimpleNamespace(all=there, close=lambda: None))
        assert workers.level(None) == expected


def test_the_list_of_workers_says_what_each_one_judges(client: Any) -> None:
    address = next(iter(connection.identity(client)["workers"]))
    running = {address: (roster.key_of("alpha-a", "0123abcd"), "another-task")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "processing", lambda: running)
        found = {each.address: each for each in roster.roster(client)}
    assert found.pop(address).judges == "alpha-a"
    assert [(each.judges, each.note) for each in found.values()] == [("", "")]


@pytest.mark.slow
def test_far_machines_are_told_of_and_near_the_limit_this_one_decides(
    make_entry: Callable[..., Path],
    judge: Judge,
    client: Any,
    place: Workspace,
    challenge: Challenge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speed.store(cores.folder() / "speed.json", speed_here())
    entry, found = entry_of(make_entry, "a"), []
    alone, true, run_here = list[bool](), cores.alone, cluster.run_here

    @contextlib.contextmanager
    def noted(count: int) -> Iterator[None]:
        with true(count):
            alone.append(True)
            yield
        alone.append(False)

    def run(*arguments: Any) -> Any:
        assert alone == [True], "the organiser's clock is for an entry that has its own cores"
        return run_here(*arguments)

    monkeypatch.setattr(cores, "alone", noted)
    monkeypatch.setattr(cluster, "run_here", run)
    # The workers are elsewhere: this process takes itself for another machine, of another kind.
    monkeypatch.setattr(remote, "identity", lambda: "the organiser's")
    monkeypatch.setattr(machine, "kind", lambda: "another kind")
    for slower in (1.0, 1e4):
        speed.store(layout.speed(place), speed_here(slower))
        workers = Cluster(client, place, challenge.config.limits)
        (judged,) = pool.judge_all(judge, [entry], rejudge="all", cluster=workers)
        assert judged.result is not None and judged.result.outcome == "ok", judged.fault
        found.append(judged.result)
    there, here = (each.where for each in found)
    assert there is not None and not there.reference and not there.same_kind
    assert there.projected is not None and there.projected[2] < 60 * challenge.config.limits.minutes
    (row,) = board.rows([found[0]], challenge.config.rules)
    assert any("another kind of processor" in each for each in row.doubts)
    assert alone == [True, False]
    # By the forecast it takes hours here; it was run here, and took no time.
    assert here is not None and here.reference and here.projected is None
    assert board.rows([found[1]], challenge.config.rules)[0].doubts == ()
    strict = Cluster(client, place, challenge.config.limits, same_kind=True)
    with pytest.raises(UserError, match="no worker judges: .*of another kind"):
        list(pool.judge_all(judge, [entry], rejudge="all", cluster=strict))


def test_what_nobody_waits_for_any_more_is_ended(
    make_entry: Callable[..., Path], judge: Judge, place: Workspace, workers: Cluster
) -> None:
    """The organiser's process ends in the middle of an entry: its worker is soon free again."""
    judging = pool.judge_all(
        judge, [entry_of(make_entry, "slow")], progress=lambda *_: _stop(), cluster=workers
    )
    with pytest.raises(KeyboardInterrupt):
        list(judging)
    assert result_files.read_all(place) == []
    end = time.monotonic() + 20
    while _runners() and time.monotonic() < end:
        time.sleep(0.05)
    assert _runners() == []


def _stop() -> None:
    raise KeyboardInterrupt


def _runners() -> list[psutil.Process]:
    """Jailed processes that descend from this one."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if any("launcher.py" in word for word in _words(each))
    ]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
