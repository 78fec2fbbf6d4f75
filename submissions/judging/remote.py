"""What a Dask worker does for a judge: tells of its machine, keeps files, runs entries.

Called by `cluster`, which lies on the organiser's machine. A worker gets an entry's bytes, the
measurements and the policy, and returns arrays, times, log and facts. It computes nothing itself:
a process of its own (`inferring`) runs the entries, on cores of its own, with the threads that the
challenge allows, whatever Dask sets for its workers' libraries.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from challenge.submissions import machine, scratch
from challenge.submissions.inference import speed
from challenge.submissions.jail import levels, stage
from challenge.submissions.jail.probe import probe
from challenge.submissions.judging import cores

POLL = 0.3
"""Seconds between two looks whether anybody still waits for an entry."""
_files = contextlib.ExitStack()
_measuring = threading.Lock()


class Missing(Exception):
    """Files that a worker was not given, or lost when it began anew."""


class Fault(Exception):
    """Our own part failed on a worker; what it said."""


@functools.cache
def _folder() -> Path:
    """Where this worker keeps files; it does not outlive the worker by much."""
    return _files.enter_context(scratch.folder("kept"))


def identity() -> str:
    """Of this machine since it was started: two workers on one machine have the same."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def facts() -> dict[str, Any]:
    """This machine, what it holds, and with what it would judge; free of torch."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "identity": identity(),
        "system": sys.platform,
        "machine": machine.describe(),
        "kind": machine.kind(),
        "toolkit": software(),
        "level": probe.strongest(),
        "reasons": {each: probe.works(each) for each in levels.LEVELS},
    }


def software() -> dict[str, str]:
    """What a verdict depends on of what is installed: reconstructions are made with it."""
    return {
        **machine.versions(),
        "numpy": machine.version_of("numpy"),
        "scipy": machine.version_of("scipy"),
        "python": platform.python_version(),
        "sources": stage.digest(),
    }


async def look() -> dict[str, Any]:
    """`facts`, off the loop that answers Dask, with what is known of the speed."""
    found = await asyncio.to_thread(facts)
    return {**found, "speeds": [asdict(each) for each in _speeds()]}


async def join(threads: int, own_cores: bool, organiser: str) -> dict[str, Any]:
    """`facts` of a worker that is to judge, its cores, and its speed where that matters.

    Args:
        threads: cores that an entry has.
        own_cores: whether they are for this worker alone.
        organiser: the `identity` of the organiser's machine, whose speed is not measured here.
    """
    found = await asyncio.to_thread(facts)
    mine = cores.claim(threads) if own_cores else machine.core_numbers()[:threads]
    far = found["identity"] != organiser
    measured = await asyncio.to_thread(_speed, threads) if far else None
    return {**found, "cores": mine, "speed": measured and asdict(measured)}


def _speed(threads: int) -> speed.Speed:
    """The speed of this machine, as `doctor --calibrate` measures it; once for all its workers."""
    from filelock import FileLock

    path = cores.folder() / "speed.json"
    with _measuring, FileLock(path.with_suffix(".lock")):
        found = speed.find(path, threads)
        if found is None or not found.is_here or not found.usable:
            found = speed.measure(threads)
            speed.store(path, found)
    return found


def _speeds() -> tuple[speed.Speed, ...]:
    path = cores.folder() / "speed.json"
    return tuple(each for each in speed.read(path) if each.is_here)


async def keep(files: dict[str, bytes]) -> None:
    """Keep files: measurements and runners by their digests, entries by their tasks."""
    await asyncio.to_thread(_keep, files)


def _keep(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        temporary = _folder() / f".{name}"
        temporary.write_bytes(content)
        temporary.rename(_folder() / name)


def infer(key: str, topic: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run an entry; a task of Dask's.

    Args:
        key: of this task.
        topic: of the events that say how far it is.
        request: as `cluster` makes it.

    Returns:
        What `inferring` says, and `arrays`: the bytes of every `.npy` file, by its name.

    Raises:
        Missing: a file is not here.
        Fault: our own part failed.
    """
    from distributed import get_worker

    worker = get_worker()
    wanted = {request["entry"], request["runner"], *request["measurements"].values()}
    if missing := sorted(each for each in wanted if not (_folder() / each).exists()):
        raise Missing(*missing)
    with scratch.folder("task") as folder:
        entry = _folder() / request["entry"]
        entry.rename(folder / "entry.zip")
        shutil.copyfile(_folder() / request["runner"], folder / "runner.py")
        kept = folder / "measurements"
        kept.mkdir()
        names = []
        for name, content in request["measurements"].items():
            (kept / f"{name}.npz").hardlink_to(_folder() / content)
            names.append(str(kept / f"{name}.npz"))
        asked = {**request, "folder": str(folder), "measurements": names}
        answer = _child().ask(
            asked,
            lambda: _is_wanted(worker, key),
            lambda step: worker.log_event(topic, {"key": key, "step": step}),
        )
        if "ran" not in answer:
            raise Fault(answer.get("fault", "the process that runs entries ended"))
        made = folder / "made"
        arrays = {
            path.relative_to(made).as_posix(): path.read_bytes()
            for path in sorted(made.rglob("[!.]*.npy"))
        }
        return {**answer["ran"], "arrays": arrays}


def _is_wanted(worker: Any, key: str) -> bool:
    """Whether anybody waits for a task: Dask does not end the thread of one that was cancelled."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state != "cancelled"


class _Child:
    """The process that runs entries, as long as it lives."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-m", "challenge.submissions.judging.inferring"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(
        self,
        request: dict[str, Any],
        wanted: Callable[[], bool],
        on_step: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """Its last answer; empty where it ended, or was ended because nobody wanted that."""
        into, out, over = self._process.stdin, self._process.stdout, threading.Event()
        assert into is not None and out is not None

        def look_after() -> None:
            while not over.wait(POLL):
                if not wanted():
                    self._process.kill()

        threading.Thread(target=look_after, daemon=True).start()
        try:
            with contextlib.suppress(OSError):
                into.write(json.dumps(request).encode() + b"\n")
                into.flush()
            for line in out:
                answer: dict[str, Any] = json.loads(line)
                if "step" not in answer:
                    return answer
                on_step(answer["step"])
        finally:
            over.set()
        self._process.kill()
        self._process.wait()
        into.close()
        out.close()
        return {}


_children: list[_Child] = []


def _child() -> _Child:
    """The process that runs entries; a fresh one where the last one ended.

    It is started by the thread of Dask's that runs tasks, and ends with that.
    """
    if not _children or not _children[0].lives:
        _children[:] = [_Child()]
    return _children[0]
