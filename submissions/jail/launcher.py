"""The first thing that runs in an inference process: it shuts itself in, then starts the runner.

    python -s -P -S -B launcher.py ARGUMENT...          the policy is the first message on stdin

It starts with one thread and with no code of a team in reach, takes everything away that the
policy says, for good, and becomes the runner. Nothing is executed in between, so that executing
anything can be forbidden. Free of everything but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import runpy
import struct
import sys
from pathlib import Path
from typing import Any

_PDEATHSIG, _NO_NEW_PRIVS, _BOUNDING_DROP = 1, 38, 24
_CAPABILITY_VERSION = 0x20080522
STACK = 64 * 2**20
"""Bytes of the first thread's stack."""
SIGNALS = 1024
"""Signals that wait, and POSIX timers."""
_SELF = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")


def main() -> None:
    runner = begin(read_policy())
    # What the policy says, where the truth lies for instance, is nowhere any more.
    runpy.run_path(runner, run_name="__main__")


def read_policy() -> dict[str, Any]:
    """The policy: the first message on stdin. A command line could be read by everybody."""
    (length,) = struct.unpack(">I", _read(4))
    found: dict[str, Any] = json.loads(_read(length))
    return found


def _read(count: int) -> bytes:
    """Exactly so many bytes: what follows is for the runner."""
    content = b""
    while len(content) < count:
        piece = os.read(0, count - len(content))
        if not piece:
            raise EOFError("no policy came")
        content += piece
    return content


def begin(policy: dict[str, Any]) -> str:
    """Shut the process in; the path of the runner that is to take over."""
    stage: str = policy["stage"]
    sys.path[:0] = [stage]
    if sys.platform == "linux":
        shut_in(policy)
    from challenge.submissions.jail import closed_modules

    closed_modules.pass_over()
    sys.path[:] = [stage, *(each for each in sys.path if each != stage), *policy["packages"]]
    return str(Path(stage) / policy["runner"])


def shut_in(policy: dict[str, Any]) -> None:
    """Apply the controls that the policy names.

    Raises:
        OSError: one of them cannot be had; the process must not go on.
    """
    import resource

    from challenge.submissions.jail import call_rules, landlock, libraries, seccomp

    controls = set(policy["controls"])
    libc = ctypes.CDLL(None, use_errno=True)
    if "end" in controls:
        libc.prctl(_PDEATHSIG, 9, 0, 0, 0)
    if "out of memory first" in controls:
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "memory" in controls:
        _lower(resource.RLIMIT_DATA, policy["data"])
        # Of a stack nothing is counted there, and it may grow to its hard limit.
        soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
        _lower(resource.RLIMIT_STACK, STACK if soft == resource.RLIM_INFINITY else min(soft, STACK))
        # Timers and signals that wait are kept by the kernel.
        _lower(resource.RLIMIT_SIGPENDING, SIGNALS)
    if "quota" in controls:
        _lower(resource.RLIMIT_FSIZE, policy["quota"])
        _lower(resource.RLIMIT_NOFILE, policy["files"])
    if "processor time" in controls:
        _lower(resource.RLIMIT_CPU, policy["cpu"])
    if "processors" in controls and policy["cores"]:
        os.sched_setaffinity(0, policy["cores"])
    if "privileges" in controls:
        _drop_privileges(libc)
    filtered = [each for each in call_rules.CONTROLS if each in controls]
    if (filtered or "files" in controls) and libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if "files" in controls:
        # An open descriptor keeps the kernel's record of this folder, to which the rule is tied.
        os.open("/proc/self", os.O_PATH)
        parts = policy["parts"]
        inside = [os.path.join(folder, name) for folder in parts for name in parts[folder]]
        shared = itertools.chain(*map(libraries.shared_objects, policy["libraries"]))
        landlock.restrict(
            [*policy["readable"], *inside, *_SELF, "/dev/urandom"],
            [policy["scratch"], "/dev/null"],
            policy["excluded"],
            listed=parts,
            files=[*shared, *libraries.linked(), libraries.CACHE],
            network="network" in controls,
            signals="signals" in controls,
        )
    if filtered:
        seccomp.install(filtered)


def _lower(limit: int, value: int) -> None:
    import resource

    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _drop_privileges(libc: ctypes.CDLL) -> None:
    """Give up every capability: whoever is root here is an owner of files and nothing more."""
    for capability in range(64):
        libc.prctl(_BOUNDING_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    main()
