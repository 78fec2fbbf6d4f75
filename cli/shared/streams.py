"""What is printed past `console`: usage errors, warnings, tracebacks, a library's own words."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO

from challenge.submissions.text import harmless


class HarmlessStream:
    """A text stream on which nothing can act on a terminal: it appears written out.

    `console` alone writes past it, to `raw`: its colours and its progress are sequences that a
    terminal is meant to follow.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self.writer: Callable[[str], None] | None = None
        """What writes whole lines in place of `raw`, while there is one."""
        self._begun = ""
        reconfigure = getattr(raw, "reconfigure", None)
        if reconfigure is not None:
            # A name that the terminal's encoding does not have is no reason to end.
            reconfigure(errors=self.errors)

    def write(self, text: str) -> int:
        if self.writer is None:
            self.raw.write(harmless(text))
        else:
            *lines, self._begun = (self._begun + harmless(text)).split("\n")
            for line in lines:
                self.writer(line)
        return len(text)

    def end_line(self) -> None:
        """Hand over a line that has begun."""
        if self.writer is not None and self._begun:
            self.writer(self._begun)
        self._begun = ""

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.raw.flush()

    def isatty(self) -> bool:
        """No: whoever asks wants to know whether it may send colours."""
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        self.raw.close()

    @property
    def closed(self) -> bool:
        return self.raw.closed


def guard() -> None:
    """From here on all that this process writes to stdout and stderr is harmless."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, HarmlessStream):
            setattr(sys, name, HarmlessStream(stream))
    # The interpreter's own may colour a traceback, by sequences that would be written out.
    sys.excepthook = _tell


def _tell(*error: Any) -> None:
    sys.stderr.write("".join(traceback.format_exception(*error)))


@contextmanager
def written_by(writer: Callable[[str], None]) -> Iterator[None]:
    """Lines of the guarded streams go to `writer`: whoever draws on the screen puts them there."""
    streams = [each for each in (sys.stdout, sys.stderr) if isinstance(each, HarmlessStream)]
    for each in streams:
        each.writer = writer
    try:
        yield
    finally:
        for each in streams:
            each.end_line()
            each.writer = None


def raw(stream: IO[str]) -> IO[str]:
    """The stream that a guarded one writes to; another one is itself."""
    return stream.raw if isinstance(stream, HarmlessStream) else stream
