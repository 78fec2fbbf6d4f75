"""The processes that share a training on one machine: started, met, and ended together.

Each is the command that began, once more, with its rank in the environment. It says through a pipe
that it has come to the training, and later why it fails, if it does so alone. Nobody waits for
the others before all have come: to meet somebody who never comes takes half an hour. The port
at which they meet is the first one's from the beginning, so that nobody can take it.

A child dies with its parent (Linux), and is ended by it whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

HERE = "127.0.0.1"
_RANK, _COUNT, _PORT = "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"
_NAMES = (_RANK, _COUNT, _PORT, "MASTER_ADDR", "NODE_RANK", "GLOO_SOCKET_IFNAME")
_PIPE, _PARENT = "CHALLENGE_PIPE", "CHALLENGE_PARENT"
_READY = b"\n"
LAST_WORDS = 5.0
"""Seconds in which the others may still say why they failed, or end by themselves."""
_PDEATHSIG = 1


class Processes:
    """The others, as the first process sees them."""

    def __init__(self, count: int) -> None:
        """Start them; this process becomes the first of them, by its environment.

        Args:
            count: of all processes, this one included.
        """
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self._before = {name: os.environ.get(name) for name in _NAMES}
        self._children: list[subprocess.Popen[bytes]] = []
        self._pipes: list[int] = []
        self._store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
        os.environ.update({_RANK: "0", "NODE_RANK": "0", _COUNT: str(count)})
        os.environ.update({"MASTER_ADDR": HERE, _PORT: str(self._store.port)})
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        try:
            for rank in range(1, count):
                self._start(rank)
        except BaseException:
            self.end()
            raise

    def _start(self, rank: int) -> None:
        mine, theirs = os.pipe()
        self._pipes.append(mine)
        own = {_RANK: str(rank), _PIPE: str(theirs), _PARENT: str(os.getpid())}
        try:
            self._children.append(
                subprocess.Popen(
                    _command(),
                    env=os.environ | own,
                    pass_fds=[theirs],
                    # Ctrl-C is for the first process, which tells the others.
                    start_new_session=True,
                )
            )
        finally:
            os.close(theirs)

    def meet(self, backend: str) -> None:
        """Wait until all have come to this place, and join them.

        Args:
            backend: torch's name of it.

        Raises:
            UserError: one ended before.
        """
        waiting = dict(zip(self._pipes, self._children, strict=True))
        while waiting:
            for pipe in select.select([*waiting], [], [])[0]:
                child = waiting.pop(pipe)
                if os.read(pipe, 1) != _READY:
                    child.wait()
                    remedy = "what it said is above; train with fewer `--processes`"
                    raise UserError.of(self._name(child), _ended(child), remedy)
        _join(self._store, backend)

    def failure(self) -> UserError | None:
        """Why one of the others failed by itself; None where none did."""
        deadline = time.monotonic() + LAST_WORDS
        for child, pipe in zip(self._children, self._pipes, strict=True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
            if child.returncode:
                said = _rest(pipe)
                where = self._name(child)
                return UserError.of(where, said or _ended(child), "" if said else CONTINUE)
        return None

    def end(self) -> None:
        """End those that are still there, and forget that this process was one of several."""
        for child in self._children:
            child.kill()
        self.part()

    def part(self) -> None:
        """Wait for their ends, which are near, and forget that there were several."""
        for child in self._children:
            try:
                child.wait(LAST_WORDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = []
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def _name(self, child: subprocess.Popen[bytes]) -> str:
        return f"process {self._children.index(child) + 2} of {len(self._children) + 1}"


CONTINUE = "the run continues from its last checkpoint with `--resume`"


def are_there(count: int) -> bool:
    """Whether this process is one of so many already, which `Processes` started."""
    return _RANK in os.environ and os.environ.get(_COUNT) == str(count)


def come(backend: str) -> None:
    """Join the others, in a process that `Processes` started.

    Args:
        backend: torch's name of it.
    """
    if _PARENT not in os.environ:
        return
    die_with_parent()
    with contextlib.suppress(OSError):
        os.write(int(os.environ[_PIPE]), _READY)
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    _join(TCPStore(HERE, int(os.environ[_PORT])), backend)


def die_with_parent() -> None:
    """End this process with the one that started it, now if that is gone already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(os.environ[_PARENT]):
        raise SystemExit(1)


def _join(store: TCPStore, backend: str) -> None:
    import torch.distributed

    count, rank = int(os.environ[_COUNT]), int(os.environ[_RANK])
    torch.distributed.init_process_group(backend, store=store, world_size=count, rank=rank)


def say_why(error: BaseException) -> None:
    """Hand an error of this process to the first one, which tells it if it knows no better."""
    if _PIPE in os.environ:
        text = " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(OSError):
            os.write(int(os.environ[_PIPE]), text.encode()[:4000])


def _rest(pipe: int) -> str:
    os.set_blocking(pipe, False)
    with contextlib.suppress(OSError):
        return os.read(pipe, 4000).decode(errors="replace")
    return ""


def _ended(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    if code < 0:
        why = " (is memory used up?)" if code == -signal.SIGKILL else ""
        return f"was ended by signal {-code}{why}"
    return f"ended with code {code}"


def _command() -> list[str]:
    """The command that started this process."""
    import __main__

    spec = getattr(__main__, "__spec__", None)
    if spec is not None:
        return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    return [sys.executable, str(Path(sys.argv[0]).absolute()), *sys.argv[1:]]
