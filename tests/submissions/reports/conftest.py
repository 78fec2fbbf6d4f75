"""A report with every kind of item, and a browser to look at pages with."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.images import photo
from challenge.submissions.reports.pages.tables import Cell, Table, number, row
from challenge.submissions.reports.presentation.items import (
    BeforeAfter,
    Code,
    Figure,
    Listing,
    Number,
    Numbers,
    Pictures,
    Section,
    Shown,
    Words,
)
from challenge.submissions.reports.presentation.report import Report


def shown(name, level, identity=""):
    picture = np.full((3, 32, 48), level, np.uint8)
    picture[:, ::2, ::3] = 255 - level
    return Shown(photo(picture, name), name, (name,), identity)


@pytest.fixture(scope="session")
def report_of():
    """A report in which a word stands wherever a stranger's word may."""

    def paint(figure):
        axis = figure.subplots()
        for place in range(2):
            axis.plot([0, 1, 2], [place, 2, 1], **figures.style_of(place), label=f"line {place}")
        axis.legend()

    first = figures.draw("one", "a figure", paint, size=(4, 3))
    second = figures.draw("two", "a figure", paint, size=(4, 3))

    def make(name: str) -> Report:
        drawing = replace(first, alt=name, caption=name)
        rows = tuple(row(f"{name} {k}", number(value, 2)) for k, value in enumerate((3, 10, 2)))
        table = Table("scores", name, ("method", "PSNR"), (*rows, row(name, Cell(""))), name)
        three = tuple(shown(name, 60 * k, f"image-1-{k}") for k in range(3))
        items = (
            Words(name, (name, f"`{name}`")),
            Words(name, (name,), listed=True),
            Words(name, (name,), absent=True),
            Numbers(name, (Number(name, name, name),)),
            Figure(name, drawing),
            Figure(name, second),
            Listing(name, table),
            Listing(name, Table("others", name, ("a", "b"), (row(name, name),)), long=True),
            Pictures(name, three, name),
            BeforeAfter(name, three[0], three[1:]),
            Code(name, name),
        )
        return Report(
            name, name, (Section("one", "Chapter", items), Section("two", name, items[:2]))
        )

    return make


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, headless; skipped with the reason where it is not there."""
    reason = "`pip install -e '.[browser]'`"
    api = pytest.importorskip("playwright.sync_api", reason=f"no playwright: {reason}")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium: `apt-get install chromium`")
    with api.sync_playwright() as playwright:
        # Chromium's own sandbox wants a user other than root; the pages are ours.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def watched(browser, tmp_path):
    """Open a page; at the end it asked for nothing, complained of nothing and opened no dialog."""
    wrong = []

    def open_page(html, width, height, scheme):
        file = tmp_path / "x.html"
        file.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(60_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))

        def asked(request):
            if not request.url.startswith(("data:", file.as_uri())):
                wrong.append(request.url)

        page.on("request", asked)
        page.goto(file.as_uri())
        return page

    yield open_page
    assert not wrong


@pytest.fixture
def serious():
    """What axe-core calls serious or critical on an open page: rule and first element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def look(page):
        found = axe.run(page).response["violations"]
        grave = [each for each in found if each["impact"] in ("serious", "critical")]
        return [(each["id"], each["nodes"][0]["html"][:200]) for each in grave]

    return look
