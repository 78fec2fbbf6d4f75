"""The first thing that runs in an inference process: it shuts itself in, then starts the runner.

    python -s -P -S -B launcher.py POLICY ARGUMENT...

It starts with one thread and with no code of a team in reach, takes everything away that the
policy says, for good, and becomes the runner. Nothing is executed in between, so that executing
anything can be forbidden. Free of everything but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

_PDEATHSIG, _NO_NEW_PRIVS, _BOUNDING_DROP = 1, 38, 24
_CAPABILITY_VERSION = 0x20080522
_SELF = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")


def main() -> None:
    policy: dict[str, Any] = json.loads(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    stage = policy["stage"]
    sys.path[:0] = [stage]
    if sys.platform == "linux":
        shut_in(policy)
    sys.path[:] = [stage, *(each for each in sys.path if each != stage), *policy["packages"]]
    runpy.run_path(str(Path(stage) / policy["runner"]), run_name="__main__")


def shut_in(policy: dict[str, Any]) -> None:
    """Apply the controls that the policy names.

    Raises:
        OSError: one of them cannot be had; the process must not go on.
    """
    import resource

    from challenge.submissions.jail import landlock, seccomp

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
    if "quota" in controls:
        _lower(resource.RLIMIT_FSIZE, policy["quota"])
        _lower(resource.RLIMIT_NOFILE, policy["files"])
    if "processor time" in controls:
        _lower(resource.RLIMIT_CPU, policy["cpu"])
    if "privileges" in controls:
        _drop_privileges(libc)
    filtered = [each for each in seccomp.CONTROLS if each in controls]
    if (filtered or "files" in controls) and libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if "files" in controls:
        # An open descriptor keeps the kernel's record of this folder, to which the rule is tied.
        os.open("/proc/self", os.O_PATH)
        landlock.restrict(
            [*policy["readable"], *_SELF, "/dev/urandom"],
            [policy["scratch"], "/dev/null"],
            policy["excluded"],
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
