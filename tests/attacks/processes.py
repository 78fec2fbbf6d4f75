"""Processes: nothing may be started, traced or left behind."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from .attack import ALL, Arena, Attack, Ran, claimed, leaked, said

# mov eax, 58 (vfork); syscall; test eax, eax; jnz +9; xor edi, edi; mov eax, 60; syscall; ret
VFORK = r"b'\xb8\x3a\x00\x00\x00\x0f\x05\x85\xc0\x75\x09\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05\xc3'"


_starting = functools.partial(Attack, controls=("processes",), evidence=claimed)


COMET = r"""
# Never there when one looks: it makes a process and ends; that makes a session of its own, goes on.
# mov r12, 400000; L: mov eax, 56 (clone); mov edi, 0x111 (VM | SIGCHLD); xor esi, esi; syscall;
# test eax, eax; jz child; xor edi, edi; mov eax, 60 (exit); syscall;
# child: mov eax, 112 (setsid); syscall; dec r12; jnz L; xor edi, edi; mov eax, 60; syscall
loop = "b838000000 bf11010000 31f6 0f05 85c0 7409 31ff b83c000000 0f05"
loop = bytes.fromhex(loop + "b870000000 0f05 49ffcc 75 d9 31ff b83c000000 0f05")
def comet():
    if os.fork() == 0:
        libc.prctl(15, b"comet", 0, 0, 0)
        machine_code(b"\x49\xbc" + struct.pack("<Q", 400_000) + loop)()
    return "started"
for _ in range(3): attempt(comet)
time.sleep(0.2)
"""

SUPERVISOR = """
import sys, tempfile
from pathlib import Path
from challenge.configs.schema.challenge import Limits
from challenge.submissions.inference import supervisor
from challenge.submissions.jail.spawn import Jail
folder, level, runner = sys.argv[1:]
folder = Path(folder)
tempfile.tempdir = str(folder / "tmp")
limits = Limits(minutes=1, threads=1, memory_gb=1)
sources = sorted((folder / "public").glob("*.npz"))
jail = Jail(level, Path(runner), (folder / "workspace",))
supervisor.infer(folder / "entry", sources, folder / "output", limits, jail)
"""


def _kill_the_supervisor(arena: Arena, attack: Attack) -> Ran:
    """Judge in a process of its own, and kill that."""
    from .attack import RUNNER

    arena.write(attack.source)
    log = arena.folder / "pid"
    command = [sys.executable, "-I", "-c", SUPERVISOR, str(arena.folder), arena.level, str(RUNNER)]
    supervisor = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + 20
    started: list[psutil.Process] = []
    while time.monotonic() < end:
        # It has said that it is ready by taking a name; bubblewrap's own processes come before.
        found = psutil.Process(supervisor.pid).children(recursive=True)
        started = [each for each in found if _name(each) == "outliving"]
        if started:
            arena.notes["all"] = found
            break
        time.sleep(0.05)
    log.write_text(str(started))
    arena.notes["started"] = started
    supervisor.kill()
    supervisor.wait()
    _, alive = psutil.wait_procs(arena.notes.get("all", []), timeout=1.5)
    # Whoever is process 1 here may take its time to bury orphans.
    alive = [each for each in alive if _alive(each)]
    arena.notes["outlived"] = alive
    for each in alive:
        each.kill()
    psutil.wait_procs(alive, timeout=2)
    for each in (arena.folder / "tmp").iterdir():
        from challenge.submissions import scratch

        scratch.remove(each)
    from challenge.submissions.inference.supervisor import Inference

    nothing = Inference("ok", "", {}, 0, 0, 0, 0, "")
    return Ran(nothing, 0, {}, b"", 0)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _name(process: psutil.Process) -> str:
    return _comm(str(process.pid))


def _comm(process: str) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def got_away(_: Arena, __: Ran) -> bool:
    """A comet still flies: it is looked for often, since most looks miss it."""
    places = (name for _ in range(20) for name in os.listdir("/proc") if name.isdigit())
    return any(_comm(name) == "comet" for name in places)


def outlived(arena: Arena, _: Ran) -> bool:
    assert arena.notes["started"], "it never ran"
    return bool(arena.notes["outlived"])


ATTACKS = [
    _starting(
        "fork",
        """
        def fork():
            child = os.fork()
            if child == 0:
                os._exit(7)
            return os.waitpid(child, 0)
        attempt(fork)
        """,
    ),
    _starting(
        "leave a daemon behind",
        """
        def daemon():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(60)
                os._exit(0)
            time.sleep(0.2)
        attempt(daemon)
        """,
    ),
    _starting(
        "start twenty processes that ignore every signal",
        """
        def many():
            for _ in range(20):
                if os.fork() == 0:
                    for number in range(1, 32):
                        if number not in (signal.SIGKILL, signal.SIGSTOP):
                            signal.signal(number, signal.SIG_IGN)
                    time.sleep(60)
                    os._exit(0)
        attempt(many)
        """,
        seconds=30,
    ),
    _starting("fork faster than one looks", COMET, evidence=got_away, stopped=ALL),
    _starting("vfork", f"attempt(lambda: os.waitpid(machine_code({VFORK})(), 0))"),
    _starting(
        "start a shell",
        """
        import subprocess
        command = ["/bin/sh", "-c", "printf he; echo llo"]
        attempt(lambda: print(subprocess.check_output(command).decode()))
        """,
        evidence=said("hello\n"),
    ),
    _starting(
        "clone without a thread's flags",
        """
        def clone():
            child = call(56, signal.SIGCHLD, 0, 0, 0, 0)
            if child == 0:
                os._exit(0)
            return os.waitpid(child, 0)
        attempt(clone)
        """,
    ),
    _starting(
        "clone by the newer call",
        """
        def clone3():
            given = struct.pack("8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
            child = call(435, ctypes.create_string_buffer(given, 64), 64)
            if child == 0:
                os._exit(0)
            return os.waitpid(child, 0)
        attempt(clone3)
        """,
    ),
    _starting(
        "become another program",
        "attempt(lambda: os.execv('/bin/echo', ['echo', 'EXECUTED']))",
        evidence=said("EXECUTED\n"),
        outcomes={"process": "import_error"},
    ),
    _starting(
        "execute a program written in scratch",
        """
        import shutil
        def execute():
            with open(os.open("own", os.O_CREAT | os.O_WRONLY, 0o755), "wb") as file:
                file.write(open("/bin/echo", "rb").read())
            os.execv("own", ["echo", "EXECUTED"])
        attempt(execute)
        """,
        evidence=said("EXECUTED\n"),
        controls=("processes", "files"),
        outcomes={"process": "import_error"},
    ),
    Attack(
        "outlive a supervisor that is killed",
        """
        # A signal at the death of the parent is not wanted; then there is nobody to answer.
        for number in (1, 2, 3, 15):
            signal.signal(number, signal.SIG_IGN)
        libc.prctl(1, 0, 0, 0, 0)
        libc.prctl(15, b"outliving", 0, 0, 0)
        time.sleep(60)
        """,
        evidence=outlived,
        controls=("end", "commands"),
        play=_kill_the_supervisor,
    ),
    Attack(
        "trace another process",
        "attempt(lambda: call(101, 0x4206, F.decoy, 0, 0))",
        controls=("others",),
    ),
    Attack(
        "read another's memory by a system call",
        """
        def memory():
            start, end = stack(F.decoy)
            content = ctypes.create_string_buffer(end - start)
            here = struct.pack("QQ", ctypes.addressof(content), end - start)
            there = struct.pack("QQ", start, end - start)
            call(310, F.decoy, here, 1, there, 1, 0)
            return content.raw[content.raw.index(b"SECRET_TOKEN"):][:60]
        attempt(memory)
        """,
        evidence=leaked,
        controls=("others", "files"),
    ),
    Attack(
        "make a user namespace",
        "attempt(lambda: call(272, 0x10000000))",
        controls=("namespaces",),
        unproven="" if os.geteuid() == 0 else "the system may forbid it",
    ),
    Attack(
        "make a thread that is a namespace too",
        "attempt(lambda: call(56, 0x00010000 | 0x10000000 | 0x900, 0, 0, 0, 0))",
        stopped=("process", "landlock", "bubblewrap"),
    ),
]
