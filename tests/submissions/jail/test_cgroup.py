"""A control group of its own: what it limits and ends; and that the judge goes on without."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from challenge.configs.schema.challenge import Limits
from challenge.submissions.inference import supervisor
from challenge.submissions.jail import cgroup, processes, spawn
from challenge.submissions.jail.spawn import Jail
from tests.attacks.attack import RUNNER, write_measurements


def test_limits_are_written_where_the_group_has_them(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.oom.group", "pids.max"):
        (tmp_path / name).write_text("0")
    made = cgroup.Group(tmp_path)
    assert made.counts_memory
    made.limit(10**9, 100)
    found = {each.name: each.read_text() for each in tmp_path.iterdir()}
    # As the kernel takes them; what this kernel does not have is left out.
    assert found == {"memory.max": "1000000000", "memory.oom.group": "1", "pids.max": "100"}
    assert not made.ran_out()
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\n")
    assert made.ran_out()


def test_without_a_tree_of_groups_there_is_none(tmp_path: Path) -> None:
    with cgroup.group(tmp_path, "/") as made:
        assert made is None
    assert [*tmp_path.iterdir()] == []


def test_a_group_ends_all_that_is_in_it_at_once_and_is_removed() -> None:
    with cgroup.group() as made, processes.as_subreaper():
        if made is None:
            pytest.skip("this machine gives no control group")
        source = "import os, time; os.fork(); os.fork(); print(flush=True); time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        made.join(process.pid)
        joined = (made._folder / "cgroup.procs").read_text().split()
        assert len(joined) == 4 and str(process.pid) in joined
        made.kill()
        assert process.wait(5) == -9
        process.stdout.close()
        end = time.monotonic() + 5
        while (made._folder / "cgroup.procs").read_text():
            assert time.monotonic() < end
        for each in joined:
            if int(each) != process.pid:
                os.waitpid(int(each), 0)
    assert not made._folder.exists()


@pytest.mark.parametrize(("level", "count"), [("process", 1), ("bubblewrap", 3)])
def test_an_entry_is_in_a_group_of_its_own(level: str, count: int, tmp_path: Path) -> None:
    from challenge.submissions.jail.probe import probe

    if reason := probe.works(level):  # type: ignore[arg-type]
        pytest.skip(reason)
    with cgroup.group() as made:
        if made is None:
            pytest.skip("this machine gives no control group")
        parent = made._folder.parent
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "method.py").write_text("def forward(y, identity): return y")
    sources = write_measurements(tmp_path / "public", 1)
    jail = Jail(level, RUNNER)  # type: ignore[arg-type]
    limits = Limits(minutes=1, threads=1, memory_gb=1)
    seen: list[str] = []

    def look(_: supervisor.Step) -> None:
        for each in parent.glob(f"challenge-{os.getpid()}-*"):
            seen.extend((each / "cgroup.procs").read_text().split())

    found = supervisor.infer(
        tmp_path / "entry", sources, tmp_path / "output", limits, jail, progress=look
    )
    assert found.outcome == "ok", found
    # bubblewrap stays outside, and is the first process inside.
    assert len(seen) == count
    assert [*parent.glob(f"challenge-{os.getpid()}-*")] == []


def test_what_its_group_ended_for_its_memory_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group as the kernel would have it, of files; the entry ends as by the kernel."""
    tree = tmp_path / "group"
    tree.mkdir()
    for name in ("cgroup.procs", "memory.max"):
        (tree / name).touch()
    (tree / "memory.events").write_text("oom 1\noom_kill 1\n")
    monkeypatch.setattr(cgroup, "group", lambda: contextlib.nullcontext(cgroup.Group(tree)))
    (tmp_path / "entry").mkdir()
    source = "import os\ndef forward(y, identity): os.kill(os.getpid(), 9)"
    (tmp_path / "entry" / "method.py").write_text(source)
    sources = write_measurements(tmp_path / "public", 1)
    limits = Limits(minutes=1, threads=1, memory_gb=1)
    jail = Jail("process", RUNNER)
    found = supervisor.infer(tmp_path / "entry", sources, tmp_path / "output", limits, jail)
    assert (found.outcome, found.cause.split(" (")[0]) == (
        "out_of_memory",
        "its process was ended by signal SIGKILL",
    )
    assert int((tree / "cgroup.procs").read_text()) > 1
    # A group counts what is cached of files, too: the limit, the reserve and the quota.
    assert int((tree / "memory.max").read_text()) == 10**9 + spawn.UNTOUCHED + spawn.QUOTA
