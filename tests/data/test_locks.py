"""Who works on a challenge keeps others away, and nobody does who is gone."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.data import locks
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace

HOLD = """
import sys
from pathlib import Path
from challenge.data import locks
how = locks.alone if sys.argv[2] == "alone" else locks.together
with how(Path(sys.argv[1]), Path("x"), f"is held {sys.argv[2]} by"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that holds a lock until it is ended."""
    with ExitStack() as ended:

        def start(how):
            command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), how]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            process = ended.enter_context(subprocess.Popen(command, text=True, **pipes))
            ended.callback(process.kill)
            assert process.stdout.readline() == "held\n"
            return process

        yield start


@pytest.mark.parametrize("theirs", ["alone", "together"])
@pytest.mark.parametrize("ours", ["alone", "together"])
def test_one_alone_or_many_together_until_they_are_gone(tmp_path, hold, theirs, ours):
    process = hold(theirs)
    how = getattr(locks, ours)
    if (theirs, ours) == ("together", "together"):
        with how(tmp_path / "lock", tmp_path, "is used by"):
            pass
    else:
        with pytest.raises(UserError) as caught, how(tmp_path / "lock", tmp_path, "is used by"):
            pytest.fail("it was not held")
        said = f"{tmp_path}: is held {theirs} by process {process.pid} on {socket.gethostname()}; "
        assert str(caught.value).startswith(said)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with how(tmp_path / "lock", tmp_path, "is used by"):
        pass


def test_who_looks_is_told_who_holds_it_and_holds_nothing(tmp_path, hold):
    file = tmp_path / "lock"
    assert locks.holder(file) is None
    process = hold("alone")
    who = f"is held alone by process {process.pid} on {socket.gethostname()}"
    assert locks.holder(file) == who
    process.kill()
    process.wait()
    assert locks.holder(file) is None
    with locks.alone(file, tmp_path, "is used by"):
        pass


def test_only_those_who_are_there_are_named(tmp_path, hold):
    gone = hold("together")
    gone.kill()
    gone.wait()
    there = hold("together")
    with pytest.raises(UserError) as caught, locks.alone(tmp_path / "lock", tmp_path, "is used by"):
        pytest.fail("it was not held")
    assert re.findall(r"process (\d+)", str(caught.value)) == [str(there.pid)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_of_somebody_else_can_be_used(tmp_path):
    tmp_path.chmod(0o500)
    with locks.together(tmp_path / ".locks" / "x", tmp_path, "is used by"):
        pass
    tmp_path.chmod(0o700)


def test_a_workspace_that_is_no_folder_can_be_used(tmp_path):
    """Where no lock can be made, reading goes on without."""
    (tmp_path / "file").write_bytes(b"")
    with locks.together(tmp_path / "file" / "x", tmp_path, "is used by"):
        pass


def test_a_second_prepare_is_refused_in_one_line_and_the_first_goes_on(tmp_path):
    """It deleted what the first one had built, and both ended in tracebacks."""
    (tmp_path / "x.yaml").write_text(
        "name: x\nimages: {source: builtin, size: 40, train: 4, val: 1, test: 1}\n"
        "operator: {kernel: {kind: gaussian, std: 1.0}}\nnoise: {sigma: 0.1}\n"
    )
    config, source = load_challenge(str(tmp_path / "x.yaml"))
    place = Workspace(tmp_path)
    refused = []

    def run(progress, force=False):
        return prepare(config, source, place, force=force, progress=progress, notice=lambda _: None)

    def again(*_):
        for force in (False, True):
            with pytest.raises(UserError) as caught:
                run(lambda *_: None, force)
            refused.append(str(caught.value))

    run(again)
    assert open_challenge(place.public("x").path, verify=True).ids("val")
    who = f"is being prepared by process {os.getpid()} on {socket.gethostname()}"
    assert {each.partition(": ")[2] for each in refused} == {f"{who}; wait for its end, or end it"}
    refused.clear()
    with pytest.raises(UserError, match="exists already"):
        run(lambda *_: None)
    with locks.together(place.lock("x"), place.path, "is used by `score`,"):
        with pytest.raises(UserError, match="is used by `score`, process"):
            run(lambda *_: None, force=True)
        with pytest.raises(UserError, match="exists already"):
            run(lambda *_: None)
    before = open_challenge(place.public("x").path).hash
    run(lambda *_: None, force=True)
    assert open_challenge(place.public("x").path).hash != before
