"""Figures of matplotlib inside of a page: SVG that follows its colours, light or dark.

Text stays text, in the page's own font; the colours of `INK` are the page's variables. The same
data give the same bytes: no date, and names inside of an SVG that follow from its content.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from challenge.submissions.reports.pages.page import name as short
from challenge.submissions.text import one_line

if TYPE_CHECKING:
    from markupsafe import Markup

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
"""Okabe and Ito's colours, which colour-blind readers tell apart; a page has lighter ones of the
same order in the dark."""
WIDEST = 400
"""Points of a figure of which a phone shows the whole with letters that can be read."""
LONGEST = 2000
"""Characters of an alternative text."""
INK, FAINT, PAPER = "#1B1F24", "#8C959F", "#FEFDFC"
"""Of letters, of lines of the grid, and what is behind."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
"""Of methods, so that they differ in more than colour."""
LINES = ("-", "--", "-.", ":")
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    PAPER: "var(--paper)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(COLOURS)},
}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "challenge",
    # A name with two dollars is no formula.
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure that was drawn."""

    name: str
    """Of its files, without a suffix: letters, digits and hyphens."""
    alt: str
    """What it says, in words."""
    caption: str
    svg: str
    """A file of its own, light."""
    raster: Callable[[], bytes] = field(repr=False, compare=False)

    @cached_property
    def wide(self) -> bool:
        """Whether its letters are too small where a phone shows it whole: there it is scrolled."""
        return self._size[0] > WIDEST

    @cached_property
    def _size(self) -> tuple[float, float]:
        """Width and height in points."""
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', self.svg)
        assert found is not None
        return float(found[1]), float(found[2])

    @cached_property
    def png(self) -> bytes:
        """The same as a picture, which takes as long again."""
        return self.raster()

    @cached_property
    def markup(self) -> Markup:
        """The SVG as a part of a page."""
        from markupsafe import Markup, escape

        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
        for colour, variable in _VARIABLES.items():
            body = re.sub(re.escape(colour), variable, body, flags=re.IGNORECASE)
        body = body.replace("'DejaVu Sans'", "var(--letters)")
        body = _own_names(body, self.name)
        points, high = self._size
        # In parts of a letter, so that figures grow with the page's text: 72 points are 6 rem.
        width = round(points / 12, 2)
        alt = escape(one_line(self.alt, LONGEST))
        head = (
            f'<svg role="img" aria-label="{alt}" viewBox="0 0 {points:g} {high:g}" '
            f'style="--width: {width}rem" xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink">'
        )
        return Markup(head + body[body.index(">") + 1 :])  # escaped by matplotlib, see the test


def draw(
    name: str,
    alt: str,
    paint: Callable[[Any], None],
    *,
    caption: str = "",
    size: tuple[float, float] = (7.2, 3.6),
) -> Drawing:
    """Draw a figure.

    Args:
        name: of its files, of letters, digits and hyphens; another one for each figure of a page.
        alt: the alternative text, which says what can be seen.
        paint: is given the `matplotlib.figure.Figure`. Words of strangers go through `label`.
        caption: below it.
        size: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def saved(**options: Any) -> bytes:
        buffer = io.BytesIO()
        with _style():
            figure.savefig(buffer, **options)
        return buffer.getvalue()

    with _style():
        # Not pyplot: it keeps every figure and picks a window system.
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
    vector = saved(format="svg", metadata={"Date": None, "Creator": None})
    raster = partial(saved, format="png", dpi=150, metadata={"Software": None})
    return Drawing(name, alt, caption, vector.decode(), raster)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Of letters that the font has not: the page's own fonts may have them.
        warnings.filterwarnings("ignore", message="(Glyph|Matplotlib currently does not)")
        yield


def label(text: object, longest: int = 28) -> str:
    """A stranger's word inside of a figure: on one line, short, and no underscore hides it."""
    shown = short(text, longest)
    # matplotlib leaves labels that begin so out of a legend.
    return f" {shown}" if shown.startswith("_") else shown


def logarithmic(axis: Any) -> None:
    """A logarithmic y axis with plain numbers, such as 0.0002: its usual labels are formulas."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if high < 100 * low:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda value, place: f"{value:.3g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def style_of(number: int) -> dict[str, Any]:
    """Colour, mark and line of the method of this number, for `Axes.plot`."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKS[number % len(MARKS)],
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }


def _own_names(svg: str, name: str) -> str:
    """Ids begin with the figure's name, so that two of a page differ; those unused are left out."""
    used: Sequence[str] = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    known = set(used)

    def renamed(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in known else ""

    svg = re.sub(r' id="([^"]*)"', renamed, svg)
    return re.sub(r'(href="#|url\(#)([^")]+)', rf"\g<1>{name}-\g<2>", svg)
