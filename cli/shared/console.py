"""All printing: data to stdout, messages and progress to stderr, plain when not a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from challenge.configs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A Rich console; wide where the output goes to a file, so that nothing is cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def width() -> int:
    """Columns of what is written to stdout."""
    return console().width


def say(text: str) -> None:
    """A message for a person, on stderr."""
    console(stderr=True).print(text, soft_wrap=True)


def warn(text: str) -> None:
    """A message that must not be overlooked, on stderr."""
    console(stderr=True).print(f"warning: {text}", style="yellow", soft_wrap=True)


def fail(error: UserError) -> None:
    """One line for each mistake, on stderr."""
    screen = console(stderr=True)
    for mistake in error.mistakes:
        screen.print(f"error: {mistake}", style="red", soft_wrap=True)


def show(text: str) -> None:
    """A result, on stdout."""
    console().print(text, soft_wrap=True)


def show_json(value: Any) -> None:
    """A result for a program, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    left: Sequence[str] = (),
) -> None:
    """A table on stdout; columns named in `left` hold words, all others numbers.

    Where it is wider than the terminal, words are wrapped, or each row is lines of its own.
    """
    from rich import box
    from rich.table import Table

    from challenge.cli.shared.columns import GAP, fit, records

    screen = console()
    fitted = fit(columns, rows, screen.width, left)
    if fitted is None:
        show(f"\n{title}\n\n{records(columns, rows, screen.width)}\n")
        return
    titles, cells, sizes = fitted
    drawn = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    for column, heading, size in zip(columns, titles, sizes, strict=True):
        justify: Literal["left", "right"] = "left" if column in left else "right"
        drawn.add_column(heading, justify=justify, width=size, overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    screen.print()
    screen.print(drawn)
    screen.print()


class Report(Protocol):
    """Progress of something that takes a while: what, done, total (None: unknown), details."""

    def __call__(self, what: str, done: int, total: int | None, details: str = "") -> None: ...


@contextmanager
def progress() -> Iterator[Report]:
    """A progress bar with the time that is left; in a file, a line about every ten seconds."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _lines()
        return
    from rich.progress import Progress

    from challenge.cli.shared.progress_line import Line

    bars = Progress(Line(screen.width), console=screen)
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int | None, details: str = "") -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total, details="")
        bars.update(tasks[what], completed=done, total=total, details=details)

    with bars:
        yield report


def _lines() -> Report:
    spoken: dict[str, float] = {}

    def report(what: str, done: int, total: int | None, details: str = "") -> None:
        now = time.monotonic()
        finished = total is not None and done >= total
        if not finished and now - spoken.get(what, float("-inf")) < 10:
            return
        spoken[what] = now
        print(f"{what} {done}/{total or '?'} {details}".rstrip(), file=sys.stderr, flush=True)

    return report
