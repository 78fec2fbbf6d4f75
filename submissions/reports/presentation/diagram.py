"""A method's module tree as a figure: what holds what, from left to right, repetitions once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import COLOURS, FAINT, Drawing, label
from challenge.submissions.reports.presentation.layers import settings_of

if TYPE_CHECKING:
    from torch import nn

ROWS = 22
"""Of a diagram, at most; deeper levels are left out until they fit."""
PERIOD = 4
"""Modules of the longest sequence that is recognised where it repeats."""
LETTER = 8.0
"""Points of the letters."""
GROUPS = (
    ("Conv", COLOURS[0]),
    ("Linear", COLOURS[0]),
    ("Norm", COLOURS[4]),
    ("Pool", COLOURS[3]),
    ("Up", COLOURS[3]),
    ("LU", COLOURS[5]),
    ("Sigmoid", COLOURS[5]),
    ("Softplus", COLOURS[5]),
)
"""Colours of layers, by a part of their kind's name."""


@dataclass(frozen=True)
class Node:
    """A module, or several that follow each other again and again."""

    kind: str
    settings: str
    parameters: int
    children: tuple[Node, ...] = ()
    times: int = 1

    @property
    def leaves(self) -> int:
        return sum(each.leaves for each in self.children) or 1

    @property
    def depth(self) -> int:
        return 1 + max((each.depth for each in self.children), default=0)

    @property
    def words(self) -> str:
        times = f"{self.times} x " if self.times > 1 else ""
        return f"{times}{self.kind} {self.settings}".strip()


def tree(module: nn.Module) -> Node:
    """The modules of a module; siblings that repeat are one node with their number."""
    children = _folded([tree(each) for each in module.children()])
    own = sum(each.numel() for each in module.parameters())
    return Node(type(module).__name__, settings_of(module), own, children)


def _folded(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Each sequence of up to `PERIOD` nodes that follows itself becomes one node."""
    found, place = list[Node](), 0
    while place < len(nodes):
        best, period = 1, 1
        for length in range(1, PERIOD + 1):
            block, times = nodes[place : place + length], 1
            while nodes[place + times * length : place + (times + 1) * length] == block:
                times += 1
            if times > 1 and times * length > best * period:
                best, period = times, length
        block = tuple(nodes[place : place + period])
        if best == 1 or period == 1:
            found.append(replace(block[0], times=best))
        else:
            parameters = sum(each.parameters for each in block)
            found.append(Node("of", "", parameters, block, best))
        place += best * period
    return tuple(found)


def fitting(node: Node, rows: int = ROWS) -> Node:
    """The tree without its deepest levels, so that it has at most so many leaves."""
    depth = node.depth
    while node.leaves > rows and depth > 1:
        depth -= 1
        node = _cut(node, depth)
    return node


def _cut(node: Node, depth: int) -> Node:
    if depth == 1:
        return replace(node, children=())
    return replace(node, children=tuple(_cut(each, depth - 1) for each in node.children))


def draw(name: str, shown: str, node: Node) -> Drawing:
    """The figure.

    Args:
        name: of its files.
        shown: the method's name, for the alternative text.
        node: as `fitting` gives it.
    """
    columns, rows = node.depth, node.leaves
    size = (min(2.0 + 2.1 * columns, 12.2), max(0.36 * rows, 0.8) + 0.1)
    # A letter is 0.58 of its height wide on average; 0.9 of a box is free for them.
    room = int(0.9 * 72 * size[0] / columns / (0.58 * LETTER))

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        axis.set_axis_off()
        axis.set_xlim(0, columns)
        axis.set_ylim(max(rows, 2), 0)
        _paint(axis, node, 0, 0.0, room)

    parts = ", ".join(each.words for each in node.children) or "no modules of its own"
    alt = f"Module tree of {label(shown)}, {node.parameters:,} parameters: {parts}."
    caption = (
        "From left to right what a module holds, from top to bottom in the order in which it is "
        "declared; the number is that of parameters. Repetitions stand once."
    )
    return figures.draw(name, alt, paint, caption=caption, size=size)


def _paint(axis: Any, node: Node, column: int, top: float, room: int) -> None:
    """A box with at most `room` characters on a line, and those of what it holds beside it."""
    from matplotlib.patches import FancyBboxPatch

    height = node.leaves
    colour = next((each for part, each in GROUPS if part in node.kind), None)
    box = FancyBboxPatch(
        (column + 0.02, top + 0.06),
        0.96,
        height - 0.12,
        boxstyle="round,pad=0,rounding_size=0.04",
        mutation_aspect=6,
        facecolor=colour or FAINT,
        edgecolor=colour or FAINT,
        alpha=0.22 if colour else 0.12,
        linewidth=1,
    )
    axis.add_patch(box)
    count = f"{node.parameters:,}" if node.parameters else ""
    if height > 1 or not count:
        text = f"{label(node.words, room)}\n{count}"
    else:
        text = f"{label(node.words, room - len(count) - 2)}  {count}"
    axis.text(column + 0.06, top + height / 2, text.strip(), va="center", fontsize=LETTER)
    below = top
    for each in node.children:
        _paint(axis, each, column + 1, below, room)
        below += each.leaves
