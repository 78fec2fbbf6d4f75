"""Processes that share a training are met, or told of, and never outlive the first one."""

from __future__ import annotations

import os
import signal
import socket
import sys

import psutil
import pytest

from challenge.configs.errors import UserError
from challenge.submissions.layout import Run
from challenge.submissions.runs import processes
from challenge.submissions.runs.session import RunSession

IMPORTS = "import os, signal, sys, time\nfrom challenge.submissions.runs import processes as p\n"
COMES = "p.die_with_parent()\nos.write(int(os.environ['CHALLENGE_PIPE']), b'\\n')\n"


@pytest.fixture
def children(monkeypatch):
    """What the other processes do, in place of this command once more."""

    def do(code):
        monkeypatch.setattr(processes, "_command", lambda: [sys.executable, "-c", IMPORTS + code])

    return do


_THERE: list[psutil.Process] = []


@pytest.fixture(autouse=True)
def there():
    """What other tests of this process have started, such as Python's resource tracker."""
    _THERE[:] = psutil.Process().children()


def left():
    return [each for each in psutil.Process().children() if each not in _THERE]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(3)", "ended with code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"was ended by signal 9 \(is memory used up\?\)"),
        ("os.write(int(os.environ['CHALLENGE_PIPE']), b'x')", "ended with code 0"),
    ],
)
def test_a_process_that_ends_at_its_start_is_one_line_and_takes_the_others_along(
    tmp_path, children, code, words
):
    children(f"if os.environ['LOCAL_RANK'] == '2':\n    {code}\n    sys.exit()\ntime.sleep(60)")
    before = dict(os.environ)
    with pytest.raises(UserError, match=f"process 3 of 3: {words}"):
        RunSession(Run(tmp_path), processes=3).launch()
    assert left() == []
    assert dict(os.environ) == before


def test_ctrl_c_while_they_start_ends_them(tmp_path, children):
    children("time.sleep(60)")

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            RunSession(Run(tmp_path), processes=2).launch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert left() == []


def test_they_meet_at_a_port_that_nobody_else_has(children, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = str(taken.getsockname()[1])
        monkeypatch.setenv("MASTER_PORT", busy)
        monkeypatch.setenv("MASTER_ADDR", "203.0.113.1")
        monkeypatch.setenv("LOCAL_RANK", "0")  # left by something else
        assert not processes.are_there(2)
        children("time.sleep(60)")
        started = processes.Processes(2)
        try:
            assert processes.are_there(2)
            assert os.environ["MASTER_PORT"] != busy
            assert os.environ["MASTER_ADDR"] == "127.0.0.1"
        finally:
            started.end()
    assert os.environ["MASTER_PORT"] == busy
    assert left() == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("p.say_why(ValueError('no room on the GPU')); sys.exit(1)", "no room on the GPU"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9"),
    ],
)
def test_a_process_that_fails_alone_is_named(children, code, said):
    children(COMES + code)
    started = processes.Processes(2)
    started._children[0].wait()
    os.read(started._pipes[0], 1)
    failure = started.failure()
    started.end()
    assert f"process 2 of 2: {said}" in str(failure)


def test_they_do_not_outlive_a_first_process_that_is_killed(children):
    children(COMES + "time.sleep(60)")
    mine, theirs = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            started = processes.Processes(2)
            os.read(started._pipes[0], 1)
            os.write(theirs, str(started._children[0].pid).encode())
            signal.pause()
        finally:
            os._exit(1)
    orphan = psutil.Process(int(os.read(mine, 20)))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    orphan.wait(5)
    for pipe in (mine, theirs):
        os.close(pipe)
