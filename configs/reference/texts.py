"""The reference as text: YAML that can be pasted into a file, and tables for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from challenge.configs.reader.writer import flow
from challenge.configs.reference.parts import Key, Part

WIDTH = 80
"""Columns of a YAML text."""
KIND = 32
"""Column in which a value's kind stands, where there is room before it."""


def yaml(found: Sequence[Part], place: str, width: int = WIDTH) -> str:
    """The section at a place with every default, each with its meaning and kind in comments.

    Where there are several kinds of it, the first one counts and the others are comments: taking
    out their `# ` makes each of them YAML too.
    """
    blocks = []
    for number, part in enumerate(each for each in found if each.place == place):
        # What follows the first one is two columns wider.
        lines = list(_block(found, part, width - 2 * bool(number)))
        if number:
            lines = [f"# {line}" for line in lines]
        head = _comment(_heading(part) + part.meaning, "", width)
        blocks.append("\n".join([*head, *lines]))
    return "\n\n".join(blocks) + "\n"


def markdown(found: Sequence[Part], titles: str = "###") -> str:
    """A table for every section, below a heading with its place."""
    texts = []
    for part in found:
        if not part.place and not part.keys:
            continue
        name = f"`{part.place}`" if part.place else "The file"
        if part.choice:
            name += f", `{part.chooser}: {part.choice}`" + (" (the default)" * part.chosen)
        rows = [(f"`{key.name}`", key.kind, _default(key), key.meaning) for key in part.keys]
        texts.append(f"{titles} {name}\n\n{part.meaning}\n")
        if rows:
            texts.append(rows_as_markdown(("key", "kind", "default", "meaning"), rows))
    return "\n".join(texts)


def rows_as_markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are text that may hold `|`."""
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"


def _heading(part: Part) -> str:
    if not part.choice:
        return ""
    return f"{part.choice}{', the default' if part.chosen else ''}: "


def _block(found: Sequence[Part], part: Part, width: int) -> Iterator[str]:
    """The lines of a section, inside the sections that it stands in."""
    names = part.place.split(".") if part.place else []
    above = dict(part.above)
    for depth, name in enumerate(names):
        yield f"{'  ' * depth}{name}:"
        if chosen := above.get(".".join(names[: depth + 1])):
            yield f"{'  ' * (depth + 1)}{chosen}"
    indent = "  " * len(names)
    if part.choice:
        yield f"{indent}{part.chooser}: {part.choice}"
    yield from _keys(found, part, indent, width)


def _keys(found: Sequence[Part], part: Part, indent: str, width: int) -> Iterator[str]:
    for key in part.keys:
        yield from _comment(key.meaning, indent, width)
        if key.choices == 1 and not key.required:
            yield f"{indent}{key.name}:"
            inner = next(each for each in found if each.place == key.section)
            yield from _keys(found, inner, indent + "  ", width)
            continue
        value = flow(key.value) if key.value is not None or not key.required else "..."
        line = f"{indent}{key.name}: {value}"
        words = _words(key)
        if len(joined := f"{line.ljust(KIND)} # {words}") <= width:
            yield joined
        else:
            yield from _comment(words, indent, width)
            yield line


def _words(key: Key) -> str:
    """A key's kind, and whether it must be given."""
    words = f"challenge config {key.section}" if key.choices > 1 else key.kind
    return f"must be given: {words}" if key.required else words


def _default(key: Key) -> str:
    if key.required:
        return "must be given"
    return f"`{key.section}`" if key.section and key.choices == 1 else f"`{flow(key.value)}`"


def _comment(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
