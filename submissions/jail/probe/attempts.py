"""What a jail must stop, tried from inside: run in the place of the runner, it answers in JSON.

    launcher.py FACTS          one line for each attempt: {"name", "happened", "said"}
    launcher.py FACTS outlive | hoard | fill       tries that until it is stopped

Each attempt raises OSError (or MemoryError) where it is refused. Free of everything but the
standard library, since it runs in jails that are under test.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """What the supervisor prepared for the attempts to find."""

    canary: str
    """A readable file outside."""
    folder: str
    """The folder it lies in."""
    picture: str
    """A picture that is the truth of the practice challenge; empty where there is none."""
    module: str
    """A file of a package that the challenge does not permit; empty where there is none."""
    entry: str
    """A file of the entry."""
    scratch: str
    decoy: int
    """A process of the supervisor that does nothing."""
    tcp: int
    tcp6: int
    """Ports of listening sockets on this machine; 0 where it has no IPv6."""
    udp: int
    unix: str
    """Path of a listening socket."""
    memory: int
    """Bytes that may not be had at once."""
    quota: int
    """Bytes that may not be written to one file."""


Attempt = Callable[[Facts], object]


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return f"{len(file.read(1000))} bytes"


def _write(facts: Facts) -> None:
    with open(os.path.join(facts.folder, "written"), "w") as file:
        file.write("by the entry")


def _connect(family: int, kind: int, address: object) -> None:
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)  # type: ignore[arg-type]
        made.send(b"x")


def _thread(_: Facts) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.set, daemon=True)
    thread.start()
    if not done.wait(5):
        raise OSError("no thread")
    # A namespace can only be made by a process with one thread.
    thread.join()


def _fork(_: Facts) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _kernel(x86_64: int, aarch64: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _rights(_: Facts) -> str:
    effective = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    if int(effective, 16) == 0:
        raise PermissionError("it has none")
    return effective


def _affinity(_: Facts) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if os.sched_getaffinity(0) == before:
        raise PermissionError("without effect")


def _user_namespace(_: Facts) -> None:
    """Only a process with one thread may; one that has ended is still there for a moment."""
    for pause in (0.0, 0.05, 0.2, 1.0):
        time.sleep(pause)
        try:
            _kernel(272, 97, 0x10000000)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _page_cache(facts: Facts) -> None:
    """Ask which pages of a file are in memory."""
    with open(facts.entry, "rb") as file:
        area = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    _kernel(27, 232, ctypes.c_void_p(address), ctypes.c_size_t(1), ctypes.create_string_buffer(1))


def _allocate(facts: Facts) -> None:
    mmap.mmap(-1, facts.memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _large_file(facts: Facts) -> None:
    with open(os.path.join(facts.scratch, "large"), "wb") as file:
        try:
            file.truncate(facts.quota)
        finally:
            file.truncate(0)


def _large_pipe(_: Facts) -> None:
    """Kernel memory, and one of many commands of `fcntl`."""
    import fcntl

    ends = os.pipe()
    try:
        fcntl.fcntl(ends[0], 1031, 2 * fcntl.fcntl(ends[0], 1032))
    finally:
        for each in ends:
            os.close(each)


def _scratch(facts: Facts) -> None:
    path = Path(facts.scratch) / "written"
    path.write_text("x")
    path.unlink()


ATTEMPTS: dict[str, Attempt] = {
    "read its own entry": lambda facts: _read(facts.entry),
    "write into its scratch folder": _scratch,
    "compute in a thread": _thread,
    "read a file outside": lambda facts: _read(facts.canary),
    "list a folder outside": lambda facts: f"{len(os.listdir(facts.folder))} names",
    "write a file outside": _write,
    "read another's environment": lambda facts: _read(f"/proc/{facts.decoy}/environ"),
    "read scikit-image's pictures": lambda facts: _read(facts.picture),
    "read a package not permitted": lambda facts: _read(facts.module),
    "see a file's size outside": lambda facts: f"{os.stat(facts.canary).st_size} bytes",
    "change a file's mode": lambda facts: os.chmod(facts.canary, 0o666),
    "connect by TCP, IPv4": lambda facts: _connect(2, 1, ("127.0.0.1", facts.tcp)),
    "connect by TCP, IPv6": lambda facts: _connect(10, 1, ("::1", facts.tcp6)),
    "send by UDP": lambda facts: _connect(2, 2, ("127.0.0.1", facts.udp)),
    "connect to a UNIX socket": lambda facts: _connect(1, 1, facts.unix),
    "resolve a name": lambda facts: socket.getaddrinfo("localhost", facts.tcp)[0][4][0],
    "signal another process": lambda facts: os.kill(facts.decoy, signal.SIGUSR1),
    "slow another process": lambda facts: os.setpriority(os.PRIO_PROCESS, facts.decoy, 19),
    "start a process": _fork,
    "choose its processors": _affinity,
    "enlarge a pipe": _large_pipe,
    "make memory of no process": lambda _: os.close(os.memfd_create("x")),
    "call io_uring": lambda _: os.close(_kernel(425, 425, 1, ctypes.create_string_buffer(120))),
    "see what others have read": _page_cache,
    "have rights of root": _rights,
    "allocate over the limit": _allocate,
    "write a file over the quota": _large_file,
    "trace a process": lambda _: _kernel(101, 117, 0, 0, 0, 0),
    "make a user namespace": _user_namespace,
}


def everything(facts: Facts) -> None:
    """Try all, in order."""
    for name, attempt in ATTEMPTS.items():
        if (name, facts.tcp6) == ("connect by TCP, IPv6", 0):
            continue
        if (name, facts.picture) == ("read scikit-image's pictures", ""):
            continue
        if (name, facts.module) == ("read a package not permitted", ""):
            continue
        try:
            said, happened = attempt(facts), True
        except (OSError, MemoryError) as error:
            said, happened = getattr(error, "strerror", None) or error or "MemoryError", False
        line = {"name": name, "happened": happened, "said": str(said or "")}
        print(json.dumps(line), flush=True)


def outlive() -> None:
    """Stay, whatever signals come."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print(json.dumps({"name": "outlive"}), flush=True)
    while True:
        time.sleep(1)


def hoard() -> None:
    """Touch memory page by page, below the kernel's limit of what may be reserved."""
    held = []
    while True:
        block = mmap.mmap(-1, 8 * 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for page in range(0, len(block), 4096):
            block[page] = 1
        held.append(block)


def fill(facts: Facts) -> None:
    """Write files that are small enough, one after the other."""
    for number in range(1_000_000):
        with open(os.path.join(facts.scratch, str(number)), "wb") as file:
            file.write(bytes(facts.quota // 8))


def main() -> None:
    given = json.loads(sys.argv[1])
    facts = Facts(**{each.name: given[each.name] for each in fields(Facts)})
    what = sys.argv[2] if len(sys.argv) > 2 else ""
    if what == "outlive":
        outlive()
    elif what == "hoard":
        hoard()
    elif what == "fill":
        fill(facts)
    else:
        everything(facts)


if __name__ == "__main__":
    main()
