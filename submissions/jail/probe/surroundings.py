"""What the attempts are to find: files, sockets, another process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from challenge.configs.schema.challenge import Limits
from challenge.submissions import scratch
from challenge.submissions.jail import places, spawn
from challenge.submissions.jail.probe.attempts import Facts
from challenge.submissions.jail.readable import readable

_DECOY = """
import ctypes, time
if hasattr(ctypes.CDLL(None), "capset"):
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
print("ready", flush=True)
time.sleep(60)
"""
"""A process like that of any user: one with the rights of root would be out of reach anyway."""

Prepared = tuple[Facts, Path, Path, "subprocess.Popen[bytes]"]


@contextlib.contextmanager
def prepare(limits: Limits, permitted: frozenset[str] | None) -> Iterator[Prepared]:
    """Make them for as long as the context lasts: facts, scratch folder, entry, other process.

    Args:
        permitted: the distributions whose packages may be read, None for all.
    """
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
            stderr=subprocess.DEVNULL,  # at Ctrl-C it would show a traceback
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
        pictures = [each for each in places.pictures() if each.endswith(".png")]
        facts = Facts(
            canary=str(outside / "canary"),
            folder=str(outside),
            picture=pictures[0] if pictures else "",
            module=_closed_module(permitted),
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


def _closed_module(permitted: frozenset[str] | None) -> str:
    """A file of an installed package that is not permitted; empty where all are."""
    for path in sorted(readable(permitted).closed()):
        # Python's own folder of packages is closed to an environment that does not use it.
        if os.path.dirname(path) in map(os.path.realpath, places.packages()):
            file = os.path.join(path, "__init__.py") if os.path.isdir(path) else path
            if file.endswith(".py") and os.path.isfile(file):
                return file
    return ""


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
