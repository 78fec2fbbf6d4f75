"""One line of progress that fits the terminal: the count is always there, the bar where it can."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text

from challenge.cli.shared.columns import width, wrapped
from challenge.cli.shared.format import clock

BAR = 20
"""Columns of the bar."""


class Line(ProgressColumn):
    """What is done, of how much, how long it will take, and details, in the room that there is.

    Where the room is short, first the bar goes, then the details take a line of their own.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def render(self, task: Task) -> Text:
        """The line, or lines, of one task."""
        return Text(text_of(task, self.room), no_wrap=True, overflow="ignore")


def text_of(task: Task, room: int) -> str:
    """The text of a task in so many columns."""
    total = "?" if task.total is None else f"{task.total:.0f}"
    count = f"{task.completed:.0f}".rjust(len(total)) + f"/{total}"
    left = "" if not task.time_remaining else f"{clock(task.time_remaining)} left"
    details = str(task.fields.get("details", ""))
    share = (task.completed / task.total) if task.total else 0.0
    bar = ("━" * round(BAR * min(share, 1.0))).ljust(BAR)
    head = [task.description, count, left]
    for parts in ([task.description, bar, count, left, details], [*head, details]):
        line = "  ".join(filter(None, parts))
        if width(line) <= room:
            return line
    return "\n".join([wrapped("  ".join(filter(None, head)), room), *_below(details, room)])


def _below(details: str, room: int) -> list[str]:
    """Details below the line that they belong to; numbers stay beside their names."""
    lines = [""]
    for part in details.split("  "):
        joined = f"{lines[-1]}  {part}" if lines[-1] else f"  {part}"
        if lines[-1] and width(joined) > room:
            lines.append(f"  {part}")
        else:
            lines[-1] = joined
    return [wrapped(line, room) for line in lines if line.strip()]
