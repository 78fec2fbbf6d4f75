"""Messages between the judge's supervisor and the inference process, and the supervisor's end.

    4 bytes, big-endian: length of the header | header: a JSON object | header["bytes"] bytes

Nothing of a message is ever unpickled, and the reader decides how much it accepts.

At the supervisor's end every wait has a deadline: a process may refuse to read, write half a
message and stop, or leave its pipes to a child. So one thread reads and one writes; the
supervisor itself only waits on queues. A message is read only when somebody waits for it: what is
sent unasked stays in the pipe, which holds 64 KiB.
"""

from __future__ import annotations

import contextlib
import json
import queue
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any, BinaryIO

HEADER_LIMIT = 16_384
_LENGTH = struct.Struct(">I")

Header = dict[str, Any]
GRACE = 0.5
"""Seconds in which the last messages of an ended process may still arrive."""


class Malformed(Exception):
    """What came is not a message."""


def write(stream: BinaryIO, header: Header, payload: bytes = b"") -> None:
    """Send one message."""
    text = json.dumps({**header, "bytes": len(payload)}).encode()
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"a header of {len(text)} bytes")
    stream.write(_LENGTH.pack(len(text)) + text)
    stream.write(payload)
    stream.flush()


def read_header(stream: BinaryIO) -> Header | None:
    """The next message's header, or None at the end of the stream.

    Raises:
        Malformed: it is too long, cut off, or not a JSON object with a length `bytes` >= 0.
    """
    prefix = stream.read(_LENGTH.size)
    if not prefix:
        return None
    if len(prefix) < _LENGTH.size:
        raise Malformed("cut off")
    (length,) = _LENGTH.unpack(prefix)
    if length > HEADER_LIMIT:
        raise Malformed("its header is too long")
    try:
        header = json.loads(read_payload(stream, length))
        count = header["bytes"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed("its header is no JSON object") from error
    if not isinstance(header, dict) or type(count) is not int or count < 0:
        raise Malformed("its header has no length")
    return header


def read_payload(stream: BinaryIO, count: int) -> bytes:
    """Exactly `count` bytes; raises `Malformed` if the stream ends before."""
    content = stream.read(count)
    if len(content) < count:
        raise Malformed("cut off")
    return content


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
        self._closing = False
        self._into, self._out = into, out
        self._inbox: queue.Queue[Message | Malformed | _Exited | None] = queue.Queue()
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
            Malformed: what came is not a message.
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
        if isinstance(found, Malformed):
            raise found
        return found

    def exited(self) -> None:
        """Say that the process is gone, though somebody may still hold its pipes."""
        self._inbox.put(_Exited())

    def close(self) -> None:
        """Stop both threads; the processes at the other end must be dead by now."""
        self._closing = True
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
            while self._wanted.acquire() and not self._closing:
                # What was sent unasked is left in the pipe.
                if (header := read_header(self._out)) is None:
                    break
                fits = header["bytes"] <= self.accept
                payload = read_payload(self._out, header["bytes"]) if fits else None
                self._inbox.put(Message(header, payload))
                if not fits:
                    break
        except Malformed as error:
            self._inbox.put(error)
        except (OSError, ValueError):
            pass
        self._inbox.put(None)

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                write(self._into, *message)
            except (OSError, ValueError):
                return
