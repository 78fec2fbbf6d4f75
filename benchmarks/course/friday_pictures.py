"""Pages in headless Chromium: the README's pictures, and many more to look at."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.course.readme import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "friday"
SIZES = {"phone": (390, 844), "laptop": (1366, 768), "projector": (1920, 1080)}
SLIDE, CHAPTER = "Before and after", "evaluation"
"""The slide of the README by its heading, and where its report is open."""


def for_readme(pages: Mapping[str, Path]) -> None:
    """A window of each page and one slide, as docs/friday/NAME.png of less than 200 kB."""
    FOLDER.mkdir(exist_ok=True)
    with browser() as opened:
        for name, path in pages.items():
            page = open_page(opened, path, "laptop", "light", height=960)
            if name == "slides":
                page.set_viewport_size({"width": 1366, "height": 768})
                turn_to(page, SLIDE)
            if name == "report":
                page.evaluate("name => document.getElementById(name).scrollIntoView()", CHAPTER)
            _save(page.screenshot(), FOLDER / f"{name}.png")
            page.close()


def looks(pages: Mapping[str, Path], folder: Path) -> None:
    """Every page whole, at every size, light and dark, and printed."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as opened:
        for name, path in pages.items():
            for size in SIZES:
                for scheme in ("light", "dark"):
                    page = open_page(opened, path, size, scheme)
                    print(f"{name}, {size}, {scheme}", file=sys.stderr)
                    if name == "slides":
                        _every_slide(page, folder / f"{name}-{size}-{scheme}")
                    else:
                        whole = folder / f"{name}-{size}-{scheme}.png"
                        page.screenshot(path=whole, full_page=True)
                    page.close()
            page = open_page(opened, path, "laptop", "light")
            page.pdf(path=folder / f"{name}.pdf", prefer_css_page_size=True, print_background=True)
            page.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("no chromium: `apt-get install chromium`")
    with sync_playwright() as playwright:
        # Chromium's own sandbox wants a user other than root; the pages are ours.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


def open_page(
    opened: Browser, path: Path, size: str, scheme: str, height: int | None = None
) -> Page:
    """A page from disk in a window of this size."""
    width, usual = SIZES[size]
    page = opened.new_page(
        viewport={"width": width, "height": height or usual},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page.goto(path.as_uri())
    return page


def turn_to(page: Page, heading: str) -> None:
    """Go on by key until the slide with this heading is shown.

    Raises:
        ValueError: there is none.
    """
    for _ in range(page.locator(".slide").count()):
        if heading in page.locator(".slide.shown").inner_text():
            return
        page.keyboard.press("ArrowRight")
    raise ValueError(f"no slide is headed `{heading}`")


def _every_slide(page: Page, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(page.locator(".slide").count()):
        page.screenshot(path=folder / f"{number + 1:02}.png")
        page.keyboard.press("ArrowRight")


def _save(content: bytes, path: Path) -> None:
    """As a picture of 256 colours, without dither: pages are even areas and letters."""
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    small = whole.quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
