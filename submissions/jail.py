"""Where the inference process is started, and how far it is shut in.

Level `process`: a session of its own, nothing of the environment but what stands below, home and
temporary files in a scratch folder, no core dumps. It does not keep code from files or network:
judge code you do not trust on a machine that has nothing to lose.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

LEVEL = "process"

ISOLATION = {
    "level": LEVEL,
    "time": "enforced",
    "memory": "watched",
    "files": "not enforced",
    "network": "not enforced",
}
"""What is enforced at this level; it stands in every result."""

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT")


def environment(scratch: Path, threads: int) -> dict[str, str]:
    """The whole environment of an inference process; it computes on `threads` CPU threads."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    home = str(scratch)
    return {
        **kept,
        "HOME": home,
        "USERPROFILE": home,
        "TMPDIR": home,
        "TEMP": home,
        "TMP": home,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # The order of a set of words may not decide a reconstruction.
        "PYTHONHASHSEED": "0",
    }


def spawn(command: Sequence[str], *, scratch: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start an inference process: messages on stdin and stdout, the team's log on stderr."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=scratch,
        env=environment(scratch, threads),
        start_new_session=True,
        close_fds=True,
    )
    if sys.platform == "linux":
        import resource

        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    return process


def pipes(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO, BinaryIO]:
    """The supervisor's ends: messages to the process, messages from it, the team's log."""
    ends = process.stdin, process.stdout, process.stderr
    if None in ends:
        raise ValueError("the process was started without pipes")
    return cast(tuple[BinaryIO, BinaryIO, BinaryIO], ends)
