"""What this machine can enforce, found out by trying: the attempts, put up, run and compared.

Nothing is assumed of a kernel: a level counts only where every attempt inside it ended as its
controls promise.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from challenge.configs.schema.challenge import Limits
from challenge.submissions import scratch
from challenge.submissions.jail import (
    bubblewrap,
    landlock,
    levels,
    processes,
    seccomp,
    spawn,
    stage,
)
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe.attempts import ATTEMPTS, Facts
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.jail.watch import Watch

ATTEMPTING = Path(__file__).parent / "attempts.py"
COMPUTING = Path(__file__).parent / "computing.py"
PATIENCE = 20.0
"""Seconds for all attempts together; they need a quarter of one."""

STOPPED_BY: dict[str, str] = {
    "read a file outside": "files",
    "list a folder outside": "files",
    "write a file outside": "files",
    "read another's environment": "files",
    "read scikit-image's pictures": "files",
    "see a file's size outside": "namespaces of its own",
    "change a file's mode": "attributes",
    "connect by TCP, IPv4": "network",
    "connect by TCP, IPv6": "network",
    "send by UDP": "network",
    "connect to a UNIX socket": "network",
    "resolve a name": "files",
    "signal another process": "signals",
    "slow another process": "others",
    "start a process": "processes",
    "choose its processors": "affinity",
    "make memory of no process": "shared memory",
    "call io_uring": "io_uring",
    "have rights of root": "privileges",
    "allocate over the limit": "memory",
    "write a file over the quota": "quota",
    "trace a process": "others",
    "make a user namespace": "namespaces",
    "outlive the deadline": "time",
    "hold memory over the limit": "watch",
    "write many files over the quota": "watch",
}
"""The control that stops an attempt; what is not in here must work."""
_DECOY = """
import ctypes, time
if hasattr(ctypes.CDLL(None), "capset"):
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
print("ready", flush=True)
time.sleep(60)
"""
"""A process like that of any user: one with the rights of root would be out of reach anyway."""
_ALWAYS = {"time", "watch"}
"""What the supervisor does from outside, at every level and on every system."""
_BY_NAMESPACES = {
    "files",
    "network",
    "signals",
    "others",
    "namespaces of its own",
}


@dataclass(frozen=True)
class Seen:
    """One attempt at one level."""

    name: str
    stopped: bool
    """Whether the level's controls promise to stop it."""
    happened: bool
    said: str
    """In the words of the process, or of the supervisor."""

    @property
    def as_promised(self) -> bool:
        """What is to be stopped was, what is needed worked."""
        needed = self.name not in STOPPED_BY
        return not self.happened if self.stopped else self.happened or not needed


def available(level: Level) -> str:
    """Why a level cannot even be tried here; empty where it can."""
    if level == "process":
        return ""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if not seccomp.machine_known():
        return f"needs x86_64 or aarch64, this is {os.uname().machine}"
    if level == "landlock" and not landlock.version():
        return "the kernel has no Landlock (Linux 5.13 or newer, switched on)"
    if level == "bubblewrap" and not bubblewrap.installed():
        return "`bwrap` is not installed (package `bubblewrap`)"
    return ""


@functools.cache
def works(level: Level) -> str:
    """Why a level does not hold here, found out by trying; empty where it holds.

    Plain processes need not be tried: nothing is promised of them but limits.
    """
    reason = available(level)
    if reason or level == "process":
        return reason
    try:
        seen = attempts(Jail(level, ATTEMPTING))
    except OSError as error:
        return str(error)
    broken = [each.name for each in seen if not each.as_promised]
    return f"not as promised: {', '.join(broken)}" if broken else ""


@functools.cache
def strongest() -> Level:
    """The highest level that holds here."""
    return next(level for level in reversed(levels.LEVELS) if not works(level))


def attempts(jail: Jail) -> list[Seen]:
    """Make all quick attempts in a jail.

    Raises:
        OSError: the jail could not be made, with what it said.
    """
    limits = Limits(minutes=1, threads=1, memory_gb=0.25)
    with _put_up(jail, limits) as (facts, folder, entry, decoy):
        tried = Jail(jail.level, ATTEMPTING, (*jail.protected, Path(facts.folder)), jail.controls)
        process = spawn.spawn(tried, folder, entry, limits, [json.dumps(asdict(facts))])
        try:
            answered, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            answered, errors = b"", b"the attempts did not end"
        finally:
            process.kill()
            process.communicate()
        found = [json.loads(line) for line in answered.splitlines()]
        if not found or found[-1]["name"] != [*ATTEMPTS][-1]:
            said = errors.decode(errors="replace").strip().splitlines()[-1:]
            raise OSError(f"the jail could not be made: {' '.join(said) or process.returncode}")
        slowed = psutil.Process(decoy.pid).nice() == 19
        killed = decoy.poll() is not None or _ended(decoy)
    effects = {"signal another process": killed, "slow another process": slowed}
    return [
        Seen(
            each["name"],
            is_stopped(each["name"], jail),
            each["happened"] and effects.get(each["name"], True),
            each["said"],
        )
        for each in found
    ]


def computing(jail: Jail, limits: Limits) -> list[Seen]:
    """Try what a method needs: torch with its threads, transforms and bfloat16.

    Raises:
        OSError: it did not end well, with what it said.
    """
    with scratch.folder("probe") as folder, scratch.folder("entry") as entry:
        tried = Jail(jail.level, COMPUTING, jail.protected, jail.controls)
        process = spawn.spawn(tried, folder, entry, limits, [str(limits.threads)])
        try:
            answered, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            raise OSError("torch did not come to an end in 120 s") from None
        finally:
            process.kill()
            process.communicate()
    found = [json.loads(line) for line in answered.splitlines()]
    if process.returncode != 0:
        raise OSError(errors.decode(errors="replace")[-500:])
    return [Seen(each["name"], False, each["happened"], each["said"]) for each in found]


def is_stopped(name: str, jail: Jail) -> bool:
    """Whether a jail's controls promise to stop an attempt."""
    control = STOPPED_BY.get(name)
    if control is None:
        return False
    if control in _ALWAYS or control in jail.controls:
        return True
    return jail.level == "bubblewrap" and control in _BY_NAMESPACES


def long_attempts(jail: Jail) -> list[Seen]:
    """Make the attempts that go on until the supervisor stops them: time, memory, disk."""
    return [
        _until_stopped(jail, name, what)
        for name, what in (
            ("outlive the deadline", "outlive"),
            ("hold memory over the limit", "hoard"),
            ("write many files over the quota", "fill"),
        )
    ]


def _until_stopped(jail: Jail, name: str, what: str) -> Seen:
    limits = Limits(minutes=1, threads=1, memory_gb=0.25)
    with (
        _put_up(jail, limits) as (facts, folder, entry, _),
        processes.adopting(),
    ):
        before = processes.children()
        tried = Jail(jail.level, ATTEMPTING, jail.protected, jail.controls)
        process = spawn.spawn(tried, folder, entry, limits, [json.dumps(asdict(facts)), what])
        tree = processes.Tree(process, before)
        memory = limits.memory_gb * 1e9
        scratch_folder = folder / "scratch"
        watch = Watch(tree, process, memory, scratch_folder, spawn.QUOTA, lambda: None)
        began = time.monotonic()
        if what == "outlive":
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1)
            alive = len(tree.members())
            tree.kill()
            said = f"{alive} alive until then, killed"
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            held = f", {watch.peak / 1e6:.0f} MB" if what == "hoard" else ""
            said = f"after {time.monotonic() - began:.1f} s{held}"
        happened = process.poll() is None
        if what == "hoard":
            happened |= not watch.exceeded
        if what == "fill":
            happened |= not watch.full
        watch.close()
        tree.kill()
        process.communicate()
    return Seen(name, True, happened, "went on" if happened else said)


PutUp = tuple[Facts, Path, Path, "subprocess.Popen[bytes]"]


@contextlib.contextmanager
def _put_up(jail: Jail, limits: Limits) -> Iterator[PutUp]:
    """What the attempts are to find: files, sockets, another process."""
    with contextlib.ExitStack() as stack:
        outside = stack.enter_context(scratch.folder("canary"))
        folder = stack.enter_context(scratch.folder("probe"))
        entry = stack.enter_context(scratch.folder("entry"))
        (outside / "canary").write_text("the truth")
        (outside / "canary").chmod(0o644)
        (entry / "entry").write_text("an entry")
        decoy = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DECOY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        stack.callback(_end, decoy)
        assert decoy.stdout is not None
        decoy.stdout.readline()
        unix = str(outside / "socket")
        sockets = [
            _listen(stack, family, kind, address)
            for family, kind, address in (
                (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
                (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
                (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            )
        ]
        _listen(stack, socket.AF_UNIX, socket.SOCK_STREAM, unix)
        pictures = [each for each in stage.pictures() if each.endswith(".png")]
        facts = Facts(
            canary=str(outside / "canary"),
            folder=str(outside),
            picture=pictures[0] if pictures else "",
            entry=str(entry / "entry"),
            scratch=str(folder / "scratch"),
            decoy=decoy.pid,
            tcp=sockets[0],
            tcp6=sockets[1],
            udp=sockets[2],
            unix=unix,
            memory=round(limits.memory_gb * 1e9) + spawn.UNTOUCHED + 2**20,
            quota=spawn.QUOTA + 2**20,
        )
        yield facts, folder, entry, decoy


def _listen(stack: contextlib.ExitStack, family: int, kind: int, address: object) -> int:
    """A socket that takes connections; its port, 0 where the machine has no such address."""
    made = stack.enter_context(socket.socket(family, kind))
    try:
        made.bind(address)  # type: ignore[arg-type]
    except OSError:
        return 0
    if kind == socket.SOCK_STREAM:
        made.listen()
    name = made.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process that was signalled ends; signals take a moment to arrive."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.05)
        return True
    return False
