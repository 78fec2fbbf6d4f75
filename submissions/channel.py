"""The supervisor's end of the two pipes to an inference process: every wait has a deadline.

A process may refuse to read, write half a message and stop, or leave its pipes to a child. So
one thread reads and one writes; the supervisor itself only waits on queues. A message is read only
when somebody waits for it: what is sent unasked stays in the pipe, which holds 64 KiB.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO

from challenge.submissions import frames
from challenge.submissions.frames import Garbled, Header

GRACE = 0.5
"""Seconds in which the last messages of an ended process may still arrive."""


class Ended(Exception):
    """The other side is gone."""


class _Exited:
    """In the inbox: the process is gone; the stream itself has not ended."""


@dataclass(frozen=True)
class Message:
    """A header and its payload; the payload is None where it was longer than accepted."""

    header: Header
    payload: bytes | None


class Channel:
    """Messages to and from a process. `accept` is the largest payload it will read, in bytes."""

    def __init__(self, into: BinaryIO, out: BinaryIO) -> None:
        self.accept = 0
        self._into, self._out = into, out
        self._inbox: queue.Queue[Message | Garbled | _Exited | None] = queue.Queue()
        self._outbox: queue.Queue[tuple[Header, bytes] | None] = queue.Queue()
        self._wanted = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, header: Header, payload: bytes = b"") -> None:
        """Hand a message to the writing thread; returns at once."""
        self._outbox.put((header, payload))

    def receive(self, deadline: float) -> Message:
        """The next message.

        Args:
            deadline: on the clock of `time.monotonic()`.

        Raises:
            TimeoutError: the deadline came first.
            Ended: the other side is gone.
            Garbled: what came is not a message.
        """
        self._wanted.release()
        try:
            found = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, _Exited):
            # Its last message may still be on its way; a child of it may hold the pipe open.
            with contextlib.suppress(queue.Empty):
                found = self._inbox.get(timeout=GRACE)
            self._inbox.put(None)
        if found is None or isinstance(found, _Exited):
            raise Ended
        if isinstance(found, Garbled):
            raise found
        return found

    def exited(self) -> None:
        """Say that the process is gone, though somebody may still hold its pipes."""
        self._inbox.put(_Exited())

    def close(self) -> None:
        """Stop both threads; the processes at the other end must be dead by now."""
        self._outbox.put(None)
        self._wanted.release()
        for thread, stream in zip(self._threads, (self._out, self._into), strict=True):
            thread.join(2)
            # One that still waits for the other side holds its stream: to close it would wait too.
            if not thread.is_alive():
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        try:
            while self._wanted.acquire() and (header := frames.read_header(self._out)) is not None:
                fits = header["bytes"] <= self.accept
                payload = frames.read_payload(self._out, header["bytes"]) if fits else None
                self._inbox.put(Message(header, payload))
                if not fits:
                    break
        except Garbled as error:
            self._inbox.put(error)
        except (OSError, ValueError):
            pass
        self._inbox.put(None)

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                frames.write(self._into, *message)
            except (OSError, ValueError):
                return
