"""What this machine can enforce, found out by trying: the attempts, run and compared.

Nothing is assumed of a kernel: a level counts only where every attempt inside it ended as its
controls promise.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
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
)
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import expected, surroundings
from challenge.submissions.jail.probe.attempts import ATTEMPTS
from challenge.submissions.jail.probe.expected import Seen
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.jail.watch import Watch

ATTEMPTING = Path(__file__).parent / "attempts.py"
COMPUTING = Path(__file__).parent / "computing.py"
PATIENCE = 20.0
"""Seconds for all attempts together; they need a quarter of one."""


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
    with surroundings.prepare(limits, jail.permitted) as (facts, folder, entry, decoy):
        protected = (*jail.protected, Path(facts.folder))
        tried = replace(jail, runner=ATTEMPTING, protected=protected)
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
            expected.is_stopped(each["name"], jail),
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
        tried = replace(jail, runner=COMPUTING)
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


def long_attempts(jail: Jail) -> list[Seen]:
    """Make the attempts that go on until the supervisor stops them: time, memory, disk."""
    return [
        _tried_thrice(jail, name, what)
        for name, what in (
            ("outlive the deadline", "outlive"),
            ("hold memory over the limit", "hoard"),
            ("write many files over the quota", "fill"),
        )
    ]


def _tried_thrice(jail: Jail, name: str, what: str) -> Seen:
    """An attempt, made again where it was not stopped: on a busy machine the watch looks late.

    Then the kernel's own limit, which is higher, ends a process before the watch has seen it.
    """
    for _ in range(3):
        seen = _until_stopped(jail, name, what)
        if not seen.happened:
            break
    return seen


def _until_stopped(jail: Jail, name: str, what: str) -> Seen:
    limits = Limits(minutes=1, threads=1, memory_gb=0.25)
    with (
        surroundings.prepare(limits, jail.permitted) as (facts, folder, entry, _),
        processes.as_subreaper(),
    ):
        before = processes.children()
        tried = replace(jail, runner=ATTEMPTING)
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


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process that was signalled ends; signals take a moment to arrive."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.05)
        return True
    return False
