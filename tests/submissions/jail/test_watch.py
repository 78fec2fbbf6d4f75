"""The watch from outside: how often it looks, whatever there is to look at; and who is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from challenge.submissions.jail import cgroup, disk, family, memory, processes
from challenge.submissions.jail.watch import Watch, due

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's records are Linux's")
HOARDER = "import sys, time; sys.stdin.read(1); hoard = bytearray(200_000_000); time.sleep(30)"


@contextmanager
def running(
    source: str, stdout: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], processes.Tree]]:
    with processes.as_subreaper():
        before = processes.children()
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source)],
            stdin=subprocess.PIPE,
            stdout=stdout,
            start_new_session=True,
        )
        tree = processes.Tree(process, before)
        try:
            yield process, tree
        finally:
            tree.kill()
            assert process.stdin is not None
            process.stdin.close()


@pytest.mark.parametrize("slow", ["files in the folder", "files without a name", "processes"])
def test_memory_is_looked_at_while_there_is_much_else_to_count(
    slow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def endless(*_: object, **__: object) -> int:
        stuck.set()
        go_on.wait(60)
        return 0

    # A folder that changed a moment ago would be counted while the process is held still.
    os.utime(tmp_path, (0, 0))
    with running(HOARDER) as (process, tree):
        watch = Watch(tree, process, 100e6, tmp_path, 10**6, lambda: None)
        try:
            if slow == "processes":
                monkeypatch.setattr(watch._tree, "members", lambda: [process.pid] * (1 + endless()))
            else:
                name = "folder_usage" if slow.endswith("folder") else "nameless_usage"
                monkeypatch.setattr(disk, name, endless)
            assert stuck.wait(10)
            # It can still kill: that takes a list of processes of its own.
            monkeypatch.undo()
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()
            process.wait(10)
            assert watch.exceeded
        finally:
            go_on.set()
            watch.close()


STATUS = b"""Name:\tpython\\nVmRSS:\t9 kB
State:\t%s
VmHWM:\t    3000 kB
VmRSS:\t    2000 kB
VmPTE:\t     100 kB
VmSwap:\t      10 kB
HugetlbPages:\t    1 kB
Threads:\t%d
SigPnd:\t0000000000000000
"""


def test_what_the_kernel_says_of_a_process() -> None:
    found = memory.parse(STATUS % (b"S (sleeping)", 3))
    assert found == memory.Held(1024 * 2111, 1024 * 3111, 1024 * 111, 3, headless=False)
    assert memory.parse(STATUS % (b"Z (zombie)", 3)).headless
    assert not memory.parse(STATUS % (b"Z (zombie)", 1)).headless
    assert memory.parse(b"") == memory.Held()


def test_it_looks_more_often_near_the_limit() -> None:
    assert due(3.95e9, 4e9) == due(5e9, 4e9) == 0.01
    assert due(0.5e9, 4e9) == 0.05
    assert due(3.4e9, 4e9) == pytest.approx(0.03)


@LINUX
def test_a_brief_look_sees_what_is_resident() -> None:
    with running(
        "import sys; hoard = []\nwhile sys.stdin.read(1): hoard.append(bytearray(50_000_000))\n"
    ) as (
        process,
        _,
    ):
        record = memory.Record(process.pid)
        before = record.look()
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        end = time.monotonic() + 10
        while record.look(briefly=True).now < before.now + 50_000_000:
            assert time.monotonic() < end
        whole = record.look()
        brief = record.look(briefly=True)
        assert abs(brief.now - whole.now) < 1_000_000 and brief.threads == 1


@LINUX
def test_a_process_that_ends_as_a_whole_is_not_taken_for_one_that_hides() -> None:
    """Its first thread may be gone while others are still being ended."""
    source = (
        "import os, threading, time\n"
        "for _ in range(50): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "hoard = bytearray(300_000_000)\n"
        "os._exit(3)\n"
    )
    with running(source) as (process, tree):
        known: dict[int, memory.Record] = {}
        while process.poll() is None:
            known = memory.records([process.pid], known)
            assert not memory.together(known.values()).headless
            assert not memory.together(known.values(), briefly=True).headless
        assert process.returncode == 3 and tree.kill()


@LINUX
def test_threads_that_share_their_files_are_counted_once() -> None:
    with running("import os, sys; sys.stdin.read(1)"):
        wait = threading.Event()
        threads = [threading.Thread(target=wait.wait) for _ in range(20)]
        for each in threads:
            each.start()
        try:
            assert disk._tables(os.getpid()) == [f"/proc/{os.getpid()}/task/{os.getpid()}/fd"]
        finally:
            wait.set()
            for each in threads:
                each.join()


def test_children_are_found_with_and_without_the_kernel_s_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = "import subprocess, sys; subprocess.run(['sleep', '30'])"
    with running(source) as (process, tree):
        end = time.monotonic() + 10
        while len(found := tree.members()) < 2:
            assert time.monotonic() < end
        assert found[0] == process.pid
        child = found[1]
        assert family._by_psutil(process.pid) == [child]
        if family.LINUX:
            assert family.lookup()(process.pid) == [child]
            assert family.parent(child) == process.pid
            with monkeypatch.context() as patch:
                patch.setattr(os.path, "exists", lambda path: False)
                assert family.lookup() is not family._by_lists
                assert family.lookup()(process.pid) == [child]
        assert tree.kill() and tree.members() == []


def test_a_tree_is_ended_where_there_are_neither_proc_nor_signals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows; the process is ended by psutil."""
    with running("import time; time.sleep(60)") as (process, tree):
        with monkeypatch.context() as patch:
            patch.setattr(family, "LINUX", False)
            patch.setattr(psutil.Process, "kill", lambda one: process.send_signal(9))
            patch.delattr(os, "O_CLOEXEC")
            patch.delattr(signal, "SIGKILL")
            patch.setattr(os, "name", "nt")
            with cgroup.group() as group:
                made = group
            held = memory.together([memory.Record(process.pid)])
            ended = tree.kill()
        assert made is None and held.now > 0 and ended
        assert process.poll() is not None


@LINUX
def test_what_was_born_just_now_is_ended_before_a_list_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running("import time; time.sleep(60)") as (_, tree):
        monkeypatch.setattr(tree, "members", list)
        # Others on this machine start processes too: it need not be among the newest each time.
        met = False
        for _ in range(20):
            born = subprocess.Popen(["sleep", "30"], start_new_session=True)
            tree.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                met = born.wait(1) == -signal.SIGKILL
            born.kill()
            born.wait()
            if met:
                break
        monkeypatch.undo()
        assert met


MOVING = {
    "names in a folder": """
        import os
        names = [f"n{number:02}" for number in range(64)]
        for number in range(1000): open(f"other-{number}", "w").close()
        with open(names[-1], "wb") as file: file.write(bytes(20 << 20))
        print(flush=True)
        while True:
            for before, after in zip([names[-1], *names], names): os.rename(before, after)
        """,
    "a folder": """
        import os
        names = [f"n{number:02}" for number in range(64)]
        for number in range(1000): open(f"other-{number}", "w").close()
        os.mkdir(names[-1])
        with open(names[-1] + "/large", "wb") as file: file.write(bytes(20 << 20))
        print(flush=True)
        while True:
            for before, after in zip([names[-1], *names], names): os.rename(before, after)
        """,
    "descriptors": """
        import os
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(500)]
        place = os.open("large", os.O_RDWR | os.O_CREAT)
        os.unlink("large")
        os.write(place, bytes(20 << 20))
        print(flush=True)
        while True:
            for number in range(600, 900):
                os.dup2(place, number)
                os.close(place)
                place = number
        """,
}


@LINUX
@pytest.mark.parametrize("what", MOVING)
def test_what_moves_all_the_time_is_counted_at_every_look(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(MOVING[what], stdout=subprocess.PIPE) as (process, tree):
        assert process.stdout is not None
        process.stdout.readline()
        watch = Watch(tree, process, 1e9, tmp_path, 16 << 20, lambda: None)
        monkeypatch.setattr(tree, "kill", lambda: True)
        try:
            missed = 0
            for _ in range(10):
                watch.full = False
                watch.sample()
                missed += not watch.full
            assert missed == 0
            # It was held still for a moment, and goes on.
            assert psutil.Process(process.pid).status() in ("running", "disk-sleep", "sleeping")
        finally:
            monkeypatch.undo()
            watch.close()
            process.stdout.close()


def test_what_one_look_holds_still_no_other_lets_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread looks at the disk all the time, and the dialogue between two images too."""
    holding, most = 0, 0

    @contextmanager
    def hold() -> Iterator[None]:
        nonlocal holding, most
        holding += 1
        most = max(most, holding)
        time.sleep(0.02)
        yield
        holding -= 1

    def moved(*_: object, still: bool = False) -> int:
        if still:
            return 0
        raise disk.Moved

    monkeypatch.setattr(disk, "folder_usage", moved)
    with running("import sys; sys.stdin.read()") as (process, tree):
        monkeypatch.setattr(tree, "held_still", hold)
        watch = Watch(tree, process, 1e9, tmp_path, 1, lambda: None)
        try:
            for _ in range(20):
                watch.sample()
        finally:
            watch.close()
    assert most == 1


@LINUX
def test_a_list_of_open_files_that_lacks_one_is_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.stat("/proc/self/fd").st_size:
        pytest.skip("before Linux 6.2 the kernel does not say how many files are open")
    source = "import time\nprint(flush=True)\ntime.sleep(60)"
    whole = disk.names

    def short(place: str) -> list[str]:
        found = whole(place)
        return found[:-1] if place.endswith("/fd") else found

    with running(source, stdout=subprocess.PIPE) as (process, _):
        assert process.stdout is not None
        process.stdout.readline()  # it opens nothing from here on
        assert disk.nameless_usage([process.pid], tmp_path, 1) == 0
        monkeypatch.setattr(disk, "names", short)
        with pytest.raises(disk.Moved):
            disk.nameless_usage([process.pid], tmp_path, 1)
        assert disk.nameless_usage([process.pid], tmp_path, 1, still=True) == 0
        process.stdout.close()


@LINUX
def test_a_number_that_is_given_out_again_hides_nobody() -> None:
    """Who forks fast enough chooses the number of the process that ended, or of one before it."""
    source = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with running(source, stdout=subprocess.PIPE) as (process, _):
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        process.stdout.close()
        process.wait()
        known = processes.Tree(process, {orphan: family.born(orphan)})
        assert known.members() == []
        process.pid = orphan
        tree = processes.Tree(process, {orphan: family.born(orphan) - 1})
        assert tree.members() == [orphan]
        assert tree.kill() and not psutil.pid_exists(orphan)
