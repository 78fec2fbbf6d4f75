"""Tables on pages of the docs, between markers: made by a command, never by hand."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, begin: str, end: str, text: str) -> None:
    """Write `text` between the markers of a page, in place of what is there.

    Raises:
        ValueError: the page has no such markers, in this order.
    """
    head, found, rest = page.read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no `{begin}` before a `{end}`")
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
