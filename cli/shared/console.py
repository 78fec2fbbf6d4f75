"""All printing: data to stdout, messages and progress to stderr, plain when not a terminal.

What is printed may hold words of strangers: names of files, docstrings, what their code says. So
everything passes `_line` here, one line a message, and nothing in it is markup. What has several
lines by its nature is a `block`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from challenge.cli.shared.streams import raw, written_by
from challenge.configs.errors import UserError
from challenge.configs.escaping import escape, json_text
from challenge.submissions.text import harmless

if TYPE_CHECKING:
    from rich.console import Console

LONGEST = 4000
"""Characters of a line; longer ones lose their middle."""
TAIL = 20
"""Lines of an entry's output that are shown."""

Cell = str | Sequence[str]
"""Of a table: one line, or several."""

_bars: list[Console] = []
"""The console of the progress bars that are on the screen: messages appear above them."""

PAGE = 80
"""Columns of a page at most: longer lines are hard to read."""


def console(*, stderr: bool = False) -> Console:
    """A Rich console; wide where the output goes to a file, so that nothing is cut."""
    from rich.console import Console

    if stderr and _bars:
        return _bars[-1]
    stream = raw(sys.stderr if stderr else sys.stdout)
    width = None if stream.isatty() else 160
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def _line(text: str) -> str:
    """On one line, harmless, and not endless."""
    text = escape(text)
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
    return text


def width() -> int:
    """Columns of what is written to stdout."""
    return console().width


def wrapped(text: str, first: str = "", other: str = "") -> str:
    """Prose in lines of a page, `PAGE` columns or those of the terminal, if it is narrower.

    Args:
        text: of one paragraph.
        first: begins the first line.
        other: begins the others.
    """
    import textwrap

    return textwrap.fill(
        text,
        min(PAGE, width()),
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(text: str) -> None:
    """A message for a person, on stderr."""
    console(stderr=True).print(_line(text), soft_wrap=True)


def warn(text: str) -> None:
    """A message that must not be overlooked, on stderr."""
    console(stderr=True).print(_line(f"warning: {text}"), style="yellow", soft_wrap=True)


def alarm(text: str) -> None:
    """What does not hold as it should, on stderr."""
    console(stderr=True).print(_line(text), style="red", soft_wrap=True)


def fail(error: UserError) -> None:
    """One line for each mistake, on stderr."""
    for mistake in error.mistakes:
        alarm(f"error: {mistake}")


def show(text: str) -> None:
    """A result, on stdout."""
    console().print(_line(text), soft_wrap=True)


def show_block(text: str) -> None:
    """A result of several lines, on stdout."""
    console().print(harmless(text), soft_wrap=True)


def show_page(text: str) -> None:
    """A text that goes into a file, to the letter, on stdout."""
    sys.stdout.write(harmless(text))


def say_block(title: str, text: str) -> None:
    """A message with what an entry's code, or a traceback, says; on stderr.

    Its lines are indented, so that none of them can be taken for one of ours.
    """
    say(title)
    screen = console(stderr=True)
    for line in harmless(text).rstrip().splitlines():
        screen.print(f"  {_line(line)}", soft_wrap=True)


def say_output(log: str) -> None:
    """The last lines of what an entry printed, if it printed any; on stderr."""
    if log.strip():
        say_block("its output, last lines:", "\n".join(log.rstrip().splitlines()[-TAIL:]))


def show_json(value: Any) -> None:
    """A result for a program, on stdout."""
    sys.stdout.write(json_text(value))


def fits(
    columns: Sequence[Cell], rows: Sequence[Sequence[Cell]], left: Sequence[Cell] = ()
) -> bool:
    """Whether a `table` has room in the terminal, with every row on as many lines as it has."""
    from challenge.cli.shared.columns import GAP, width

    heads, body = [_cell(each) for each in columns], [[*map(_cell, row)] for row in rows]
    sizes = [max(map(width, cells)) for cells in zip(heads, *body, strict=True)]
    return sum(sizes) + GAP * (len(sizes) - 1) <= console().width


def table(
    columns: Sequence[Cell],
    rows: Sequence[Sequence[Cell]],
    *,
    title: str = "",
    left: Sequence[Cell] = (),
) -> None:
    """A table on stdout; columns named in `left` hold words, all others numbers.

    Where it is wider than the terminal, words are wrapped, or each row is lines of its own.
    """
    from rich import box
    from rich.table import Table

    from challenge.cli.shared.columns import GAP, fit, records

    screen = console()
    words = [_cell(each) for each in left]
    heads, body = [_cell(each) for each in columns], [[*map(_cell, row)] for row in rows]
    fitted = fit(heads, body, screen.width, words)
    if fitted is None:
        show_block(f"\n{_line(title)}\n\n{records(heads, body, screen.width)}\n")
        return
    titles, cells, sizes = fitted
    drawn = Table(
        title=_line(title) or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    for column, heading, size in zip(heads, titles, sizes, strict=True):
        justify: Literal["left", "right"] = "left" if column in words else "right"
        drawn.add_column(heading, justify=justify, width=size, overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    screen.print()
    screen.print(drawn)
    screen.print()


def _cell(cell: Cell) -> str:
    return _line(cell) if isinstance(cell, str) else "\n".join(map(_line, cell))


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

    bars = Progress(
        Line(screen.width),
        console=screen,
        # Rich would take the place of the guarded streams.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int | None, details: str = "") -> None:
        what, details = _line(what), _line(details)
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total, details="")
        bars.update(tasks[what], completed=done, total=total, details=details)

    with bars, written_by(lambda text: screen.print(text, soft_wrap=True)):
        _bars.append(screen)
        try:
            yield report
        finally:
            _bars.remove(screen)


def _lines() -> Report:
    spoken: dict[str, float] = {}

    def report(what: str, done: int, total: int | None, details: str = "") -> None:
        now = time.monotonic()
        finished = total is not None and done >= total
        if not finished and now - spoken.get(what, float("-inf")) < 10:
            return
        spoken[what] = now
        text = f"{what} {done}/{total or '?'} {details}".rstrip()
        print(_line(text), file=raw(sys.stderr), flush=True)

    return report
