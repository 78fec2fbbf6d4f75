"""What a team's code prints, kept to a size and made harmless to show."""

from __future__ import annotations

import threading
from typing import BinaryIO

from challenge.submissions.text import harmless

HEAD = 16_384
TAIL = 49_152
"""Bytes that are kept of the beginning and of the end."""


class Output:
    """Drains a stream in a thread, so that its writer never waits, and keeps both ends of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def close(self, seconds: float = 2) -> str:
        """The text once the stream has ended, or what there is after `seconds`."""
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._stream.close()
        head, tail = bytes(self._head), bytes(self._tail)
        middle = f"\n[... {self._dropped} bytes left out ...]\n" if self._dropped else ""
        return harmless(head) + middle + harmless(tail)

    def _drain(self) -> None:
        # read1 returns what is there; read would wait for a full buffer.
        while chunk := self._stream.read1(65_536):  # type: ignore[attr-defined]
            space = HEAD - len(self._head)
            self._head += chunk[:space]
            self._tail += chunk[space:]
            if len(self._tail) > TAIL:
                self._dropped += len(self._tail) - TAIL
                del self._tail[: len(self._tail) - TAIL]
