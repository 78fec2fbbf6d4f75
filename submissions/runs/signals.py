"""Signals that ask a training to stop: it finishes its step, saves, and can be continued.

    SIGINT, SIGTERM                 Ctrl-C, a batch system, `kill`; a second one ends it at once
    SIGHUP, SIGUSR1, SIGUSR2        the terminal is closed, a batch system warns
    SIGXCPU                         its processor time runs out

The others never end it at once: a closed terminal sends its signal twice, and the system
repeats that of the processor time every second.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

REQUESTS = ("SIGINT", "SIGTERM")
WARNINGS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Those that the system has are caught, unless it was told to ignore them, as `nohup` does."""

OnStop = Callable[[int], None]
"""Called with the number of the signal."""


class Stoppable(Protocol):
    """What is asked to stop."""

    def request_stop(self, signal: int | None = None) -> None: ...

    @property
    def stop_requested(self) -> bool: ...


@contextmanager
def stop_on_signals(session: Stoppable, on_stop: OnStop | None) -> Iterator[None]:
    """Ask the session to stop at the first signal; the main thread only.

    A second request raises, in the main thread: `KeyboardInterrupt` for SIGINT, `SystemExit`
    with 143 for SIGTERM.
    """
    requests = 0

    def stop(number: int, frame: object) -> None:
        nonlocal requests
        if number in asked:
            requests += 1
            if requests > 1:
                raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        if session.stop_requested:
            return
        session.request_stop(number)
        if on_stop is not None:
            # The terminal may be gone, which is no reason to lose the step.
            with suppress(OSError):
                on_stop(number)

    asked = _numbers(REQUESTS)
    caught = [*asked, *(each for each in _numbers(WARNINGS) if _heard(each))]
    before = {number: signal.signal(number, stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _heard(number: int) -> bool:
    """Whether nobody said that this signal means nothing."""
    return signal.getsignal(number) not in (signal.SIG_IGN, None)
