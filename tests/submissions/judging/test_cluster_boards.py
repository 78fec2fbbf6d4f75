"""However many workers and organisers judge, and wherever: one board, each entry judged once."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout, machine
from challenge.submissions.inference import speed
from challenge.submissions.jail.probe import probe
from challenge.submissions.judging import access, connection, pool, result_files
from challenge.submissions.judging.cluster import Cluster
from challenge.submissions.judging.judge import Judge, open_judge
from challenge.submissions.judging.worker import Judged
from tests.submissions.judging import hosts
from tests.submissions.judging.boards import board_but_for_times, speed_here
from tests.submissions.judging.echoed import entry_of

pytest.importorskip("distributed")
pytestmark = [
    # One worker says what this process says, in test_cluster.
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="judging is promised on Linux"),
]
HERE = Path(__file__).parent
LEVEL = "landlock" if not probe.works("landlock") else "process"


@pytest.fixture
def entries(make_entry: Callable[..., Path]) -> list[Path]:
    """Of two teams, each of which reconstructs otherwise; they take a while."""
    return [
        entry_of(make_entry, f"darker-{number}", f"slow darker-{number}", team)
        for number, team in enumerate(("alpha", "beta", "alpha"))
    ]


def _copy(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.path, folder)
    return Workspace(folder)


def _judge(place: Workspace, challenge: Challenge) -> Judge:
    runner = HERE.parent / "echo_runner.py"
    return open_judge(place, challenge, place.hidden("tiny"), None, level=LEVEL, runner=runner)


def _all_well(judged: list[Judged], entries: list[Path]) -> None:
    assert [each.fault for each in judged] == [""] * len(entries)
    assert sorted(each.entry for each in judged) == sorted(entries)
    assert all(each.fresh for each in judged)


def test_the_board_is_the_same_from_one_two_and_four_workers(
    entries: list[Path], workspace: Workspace, challenge: Challenge, tmp_path: Path
) -> None:
    place = _copy(workspace, tmp_path / "alone")
    _all_well(list(pool.judge_all(_judge(place, challenge), entries)), entries)
    alone = board_but_for_times(place, challenge)
    with connection.connect("local", workers=1) as client:
        for count in (1, 2, 4):
            client.cluster.scale(count)
            client.wait_for_workers(count)
            place = _copy(workspace, tmp_path / str(count))
            workers = Cluster(client, place, challenge.config.limits, own_cores=False)
            assert len(workers.members.all) == count
            found = pool.judge_all(_judge(place, challenge), entries, cluster=workers)
            _all_well(list(found), entries)
            assert board_but_for_times(place, challenge) == alone


def test_the_board_is_the_same_from_workers_on_two_hosts(
    entries: list[Path], workspace: Workspace, challenge: Challenge, tmp_path: Path
) -> None:
    """Over TLS, from machines with networks, names and identities of their own."""
    if reason := hosts.why_not():
        pytest.skip(reason)
    place = _copy(workspace, tmp_path / "alone")
    _all_well(list(pool.judge_all(_judge(place, challenge), entries)), entries)
    alone = board_but_for_times(place, challenge)

    place, tls = _copy(workspace, tmp_path / "far"), tmp_path / "tls"
    speed.store(layout.speed(place), speed_here())
    access.make_certificate(tls)
    shown = [
        *("--tls-ca-file", str(tls / access.CERTIFICATE)),
        *("--tls-cert", str(tls / access.CERTIFICATE), "--tls-key", str(tls / access.KEY)),
    ]
    dask = [sys.executable, "-m", "dask"]
    with ExitStack() as stack:
        there = stack.enter_context(hosts.hosts(2, tmp_path))
        log = stack.enter_context((tmp_path / "dask.log").open("wb"))
        with socket.socket() as free:
            free.bind((there[0].here, 0))
            port = free.getsockname()[1]
        address = f"tls://{there[0].here}:{port}"

        def start(command: list[str], environment: dict[str, str] | None = None) -> None:
            process = subprocess.Popen([*command, *shown], env=environment, stdout=log, stderr=log)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)

        host = there[0].here
        start([*dask, "scheduler", "--host", host, "--port", str(port), "--protocol", "tls"])
        for each in there:
            options = ["--nthreads", "1", "--memory-limit", "0", "--resources", "judge=1"]
            options += ["--no-dashboard", "--host", each.there]
            start(each.command(*dask, "worker", address, *options), each.environment)
        client = _connected(stack, address, tls)
        client.wait_for_workers(2, timeout=120)
        workers = Cluster(client, place, challenge.config.limits)
        found = list(pool.judge_all(_judge(place, challenge), entries, cluster=workers))
    _all_well(found, entries)
    ran = [each.result.where for each in found if each.result and each.result.where]
    assert {each.host for each in ran} == {each.name for each in there}
    assert not any(each.reference for each in ran) and all(each.projected for each in ran)
    assert board_but_for_times(place, challenge) == alone


def _connected(stack: ExitStack, address: str, tls: Path) -> connection.Client:
    """A client, as soon as the scheduler answers."""
    end = time.monotonic() + 120
    while True:
        try:
            return stack.enter_context(connection.connect(address, tls))
        except UserError:
            if time.monotonic() > end:
                raise


@pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores")
def test_two_organisers_judge_each_entry_once(
    entries: list[Path], workspace: Workspace, challenge: Challenge, tmp_path: Path
) -> None:
    """Into one folder of results, at once; and what somebody who was killed left there goes."""
    place = _copy(workspace, tmp_path / "alone")
    _all_well(list(pool.judge_all(_judge(place, challenge), entries)), entries)
    alone = board_but_for_times(place, challenge)
    (name, *_) = sorted(each.name for each in layout.results(place).glob("*.json"))

    place = _copy(workspace, tmp_path / "shared")
    # Of a process on another machine, whose number says nothing here.
    left = layout.results(place) / f".{name}.1-other.partial"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("{")
    with connection.connect("local", workers=2) as client:
        address = connection.identity(client)["address"]
        words = [str(HERE / "score_on_cluster.py"), str(place.path), address, LEVEL]
        organisers = [
            subprocess.Popen(
                [sys.executable, *words, *map(str, entries)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        said = [each.communicate(timeout=300)[0].splitlines() for each in organisers]
    assert [each.returncode for each in organisers] == [0, 0]
    assert [len(each) for each in said] == 2 * [len(entries)]
    judged = sorted(line.split()[0] for lines in said for line in lines if " True " in f"{line} ")
    assert judged == sorted(each.name for each in entries)
    assert not layout.history(place).exists() and not left.exists()
    assert len(result_files.read_all(place)) == len(entries)
    assert board_but_for_times(place, challenge) == alone
