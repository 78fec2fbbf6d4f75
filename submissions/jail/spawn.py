"""Start an inference process in its jail.

Messages go by stdin and stdout, the team's log by stderr; there is no other way in or out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from challenge.configs.schema.challenge import Limits
from challenge.submissions import machine
from challenge.submissions.jail import bubblewrap, landlock, levels, places, stage
from challenge.submissions.jail.cgroup import Group
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.readable import readable

THREADS = 512
"""More threads than any method needs: each holds memory of the kernel that no limit counts."""
UNTOUCHED = 512 * 2**20
"""Bytes that a process may reserve beyond its memory limit: the stacks of threads, for instance,
which it never touches. What it touches is watched."""
QUOTA = 256 * 2**20
"""Bytes that an entry may write into its scratch folder."""
FILES = 512
"""Files that it may have open."""
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT")


@dataclass(frozen=True)
class Jail:
    """Where entries run: the level, its controls, and what is closed in every case."""

    level: Level
    runner: Path
    """The program that answers the supervisor."""
    protected: tuple[Path, ...] = ()
    """Folders that stay closed wherever they lie: the workspace, the hidden truth."""
    controls: frozenset[str] = field(default=frozenset())
    """Applied by the launcher; those of the level, unless given."""
    permitted: frozenset[str] | None = None
    """The distributions whose packages an entry may read; None: all that are installed."""

    def __post_init__(self) -> None:
        if not self.controls:
            controls = levels.controls(self.level)
            if self.level == "bubblewrap" and not landlock.version():
                # Namespaces alone decide about files there.
                controls -= {"files"}
            object.__setattr__(self, "controls", controls)


def environment(scratch: Path, threads: int) -> dict[str, str]:
    """The whole environment of an inference process; it computes on `threads` CPU threads."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    home = str(scratch)
    return {
        **kept,
        "HOME": home,
        "USERPROFILE": home,
        "USER": "entry",
        "TMPDIR": home,
        "TEMP": home,
        "TMP": home,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # The order of a set of words may not decide a reconstruction.
        "PYTHONHASHSEED": "0",
        # The system's locales and time zones cannot be read.
        "PYTHONUTF8": "1",
        "PYTHONTZPATH": "",
    }


def spawn(
    jail: Jail,
    folder: Path,
    entry: Path,
    limits: Limits,
    arguments: Sequence[str],
    group: Group | None = None,
) -> subprocess.Popen[bytes]:
    """Start the runner of a jail.

    Args:
        jail: where.
        folder: an empty folder, for the copy of the toolkit and the process's scratch folder.
        entry: the unpacked entry.
        limits: threads and memory.
        arguments: the runner's.
        group: the control group that it is to join, where there is one.
    """
    toolkit, scratch = folder / "toolkit", folder / "scratch"
    scratch.mkdir()
    stage.copy_toolkit(toolkit)
    shutil.copyfile(jail.runner, toolkit / "runner.py")
    seen = readable(jail.permitted)
    own = [str(toolkit), str(entry.resolve())]
    excluded = _within(
        [*places.pictures(), *map(os.path.realpath, jail.protected)], [*seen.shown, *own]
    )
    policy = {
        "stage": str(toolkit),
        "runner": "runner.py",
        "packages": places.packages(),
        "controls": sorted(jail.controls),
        "readable": own,
        "parts": seen.parts,
        "libraries": seen.libraries,
        "excluded": excluded,
        "scratch": str(scratch),
        "data": round(limits.memory_gb * 1e9) + UNTOUCHED,
        "quota": QUOTA,
        "files": FILES,
        # Whatever becomes of the supervisor, no process computes for ever; what is off the clock,
        # the first image again and the contract test, must have room too.
        "cpu": round(limits.threads * (4 * limits.minutes * 60 + 60)),
        # Whatever threads it starts, they share as many cores as the challenge allows.
        "cores": machine.core_numbers()[: limits.threads],
    }
    launcher = toolkit / "challenge" / "submissions" / "jail" / "launcher.py"
    # Not -I: the environment is ours, and the seed of hashing is read from it.
    command = [sys.executable, "-s", "-P", "-S", "-B", "-u", str(launcher), *arguments]
    with contextlib.ExitStack() as stack:
        passed: tuple[int, ...] = ()
        if jail.level == "bubblewrap":
            # Landlock tells the names in a folder apart; without it they are covered, one by one.
            covered = excluded if "files" in jail.controls else [*excluded, *seen.closed()]
            settings = bubblewrap.settings([*seen.shown, *own], str(scratch), covered)
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(b"\0".join(map(os.fsencode, settings)) + b"\0")
            source.seek(0)
            passed = (source.fileno(),)
            command = bubblewrap.command(command, source.fileno())
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=scratch,
            env=environment(scratch, limits.threads),
            start_new_session=True,
            close_fds=True,
            pass_fds=passed,
        )
    if group is not None:
        # It waits for its policy: whatever it starts later belongs to the group too.
        with contextlib.suppress(OSError):
            group.limit(round(limits.memory_gb * 1e9) + UNTOUCHED + QUOTA, 2 * THREADS)
            group.join(process.pid)
    content = json.dumps(policy).encode()
    with contextlib.suppress(BrokenPipeError):
        # A pipe holds 64 KiB, a policy has some 30: this does not wait for the process.
        into = pipes(process)[0]
        into.write(struct.pack(">I", len(content)) + content)
        into.flush()
    return process


def _within(paths: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Those of some real paths that lie in one of the folders: the others are closed anyway."""
    around = {os.path.realpath(each) for each in folders}
    return [
        path
        for path in dict.fromkeys(paths)
        if any(str(each) in around for each in (Path(path), *Path(path).parents))
    ]


def pipes(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO, BinaryIO]:
    """The supervisor's ends: messages to the process, messages from it, the team's log."""
    ends = process.stdin, process.stdout, process.stderr
    if None in ends:
        raise ValueError("the process was started without pipes")
    return cast(tuple[BinaryIO, BinaryIO, BinaryIO], ends)
