"""Pages of the last day: how long a report and a board take, how large they are, when they show.

Seconds are the least of the clock's and the processor's: where other programs keep the cores busy,
a command waits for them, and its processor time is what it takes at most on a core of its own. When
a page shows is the browser's own word (Performance API, first contentful paint), the least of
several loads from disk; without a browser nothing is said of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.speed.memory import photographs
from benchmarks.speed.timing import Result
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.images import codec
from challenge.data.layout import Hidden, Workspace
from challenge.submissions.judging import result, reveal
from challenge.submissions.reports import board_page, final_files
from challenge.submissions.reports.standing import gather

IMAGES = 24
METHODS = {
    "tv": [],
    "wiener": [],
    "huber": [],
    "uncoupled": ["method.coupled=false"],
    "network": ["train.minutes=null", "train.steps=20", "train.evaluate=5"],
}
"""Runs, by their settings: trained in a moment, they have as much to report as after hours."""
ENTRIES = 100
"""On the board."""
TEAMS = 20
"""On the final page, with pictures."""


def run(quick: bool = False) -> list[Result]:
    """Seconds and size of a report and of a board, and the first paint of four pages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs(folder / "photos", 2 * IMAGES + 8, 256)
        settings = ["name=pages", "images={source: folder, path: photos}", "limits.threads=1"]
        settings += ["images.size=256", f"images.val={IMAGES}", f"images.test={IMAGES}"]
        call(folder, "prepare", "deblur", *settings)
        place = Workspace(folder / "workspace")
        pages = {each: folder / f"{each}.html" for each in ("report", "slides", "board", "final")}
        found = [*_report(folder, place, pages), *_board(place, pages, quick)]
        found += [_paint(each, path, quick) for each, path in pages.items() if _browser()]
    return found


def _report(folder: Path, place: Workspace, pages: dict[str, Path]) -> Iterator[Result]:
    def made(name: str) -> str:
        config = "tv" if name == "uncoupled" else name
        call(folder, "train", config, "challenge=pages", f"name={name}", *METHODS[name])
        found = str(place.path / "runs" / "pages" / name)
        call(folder, "infer", found)
        return found

    with ThreadPoolExecutor() as pool:
        runs = [*pool.map(made, METHODS)]
    clock, work = call(folder, "report", *runs, "--out", str(pages["report"]))
    call(folder, "report", *runs, "--slides", "--out", str(pages["slides"]))
    what = f"report of {len(METHODS)} methods x {IMAGES} images"
    yield {
        "what": f"`challenge {what}`, inferred before",
        "measured": min(clock, work),
        "target": 20.0,
        "better": "lower",
        "unit": "s",
        "detail": f"{clock:.1f} s by the clock, {work:.1f} s of processor time, start included",
    }
    yield _size(what, pages["report"], 15)


def _board(place: Workspace, pages: dict[str, Path], quick: bool) -> Iterator[Result]:
    challenge, hidden = open_challenge(place.public("pages").path), place.hidden("pages")
    verdicts = [verdict(challenge, hidden, number) for number in range(ENTRIES)]

    def make() -> None:
        standing = gather(place, challenge, verdicts, None)
        pages["board"].write_text(board_page.html(board_page.view(standing)))

    make()
    clock, work = min((_both(make) for _ in range(2 if quick else 5)), key=min)
    yield {
        "what": f"page of a board with {ENTRIES} entries, {IMAGES} images",
        "measured": min(clock, work),
        "target": 1.0,
        "better": "lower",
        "unit": "s",
        "detail": f"from verdicts to the file; {clock:.2f} s by the clock, {work:.2f} s of "
        "processor time",
    }
    yield _size(f"page of a board with {ENTRIES} entries", pages["board"], 1)
    _reconstruct(hidden, verdicts[:TEAMS])
    moment = reveal.record(hidden, "s" * 64)
    built = final_files.build(place, challenge, verdicts[:TEAMS], moment)
    pages["final"].write_text(built.page)


def verdict(challenge: Challenge, hidden: Hidden, number: int) -> result.Result:
    """On an entry of a team of its own, a little worse than the one before."""
    rng = np.random.default_rng(number)
    images = [
        {"id": each, "psnr": 30 - number / 20 + rng.normal(), "ssim": 0.8, "seconds": 0.1}
        for each in hidden.ids()
    ]
    psnr = float(np.mean([each["psnr"] for each in images]))
    curve = {"steps": [*range(0, 400, 10)], "values": [*np.linspace(20, psnr, 40)]}
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    record = {
        "entry": {
            "hash": hashlib.sha256(b"%d" % number).hexdigest(),
            "team": f"team {number}",
            "name": "net",
            "bytes": 1_000_000,
            "summary": {
                "method": "network",
                "parameters": 10_000 * (number + 1),
                "curves": {"format": 1, "curves": {"psnr": curve}},
            },
        },
        "challenge": {"hash": challenge.hash, "name": "pages"},
        "judge": {"hash": "d" * 64, "isolation": {"level": "landlock"}},
        "outcome": "ok",
        "psnr": {"mean": psnr, "low": psnr - 0.5, "high": psnr + 0.5},
        "ssim": {"mean": 0.8, "low": 0.78, "high": 0.82},
        "seconds": {"total": 10.0 + number},
        "received": moment,
        "judged_at": moment,
        "images": images,
    }
    return result.Result.model_validate(record)


def _reconstruct(hidden: Hidden, verdicts: list[result.Result]) -> None:
    """A noisy truth of each image for each entry."""
    rng = np.random.default_rng(0)
    for identity in hidden.ids():
        truth = codec.to_unit(codec.stored(hidden.image(identity)))
        for each in verdicts:
            folder = hidden.judged(each.entry.label)
            folder.mkdir(parents=True, exist_ok=True)
            noise = 0.03 * rng.standard_normal(truth.shape, dtype=np.float32)
            np.save(folder / f"{identity}.npy", truth + noise)


def _size(what: str, path: Path, megabytes: float) -> Result:
    return {
        "what": f"{what}: size",
        "measured": path.stat().st_size / 1e6,
        "target": megabytes,
        "better": "lower",
        "unit": "MB",
        "detail": "one file",
    }


def _paint(name: str, path: Path, quick: bool) -> Result:
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=_browser(), args=arguments)
        for _ in range(2 if quick else 7):
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.goto(path.as_uri())
            while not (shown := page.evaluate(PAINT)):
                page.wait_for_timeout(20)
            times.append(shown / 1000)
            page.close()
        browser.close()
    return {
        "what": f"first paint of the page `{name}` from disk",
        "measured": min(times),
        "target": 1.0,
        "better": "lower",
        "unit": "s",
        "detail": f"{path.stat().st_size / 1e6:.1f} MB, between {min(times):.2f} and "
        f"{max(times):.2f} s",
    }


PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
"""Milliseconds, or nothing before it."""


def _browser() -> str | None:
    """Debian's Chromium, where there is one that can be driven."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found if find_spec("playwright") else None


def call(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of a command in a folder: by the clock, and of the processor."""
    script = "from challenge.cli.main import main; main()"
    command = [sys.executable, "-c", script, *words]
    return _both(lambda: subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL))


def _both(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor with all children that have ended."""
    started, before = time.perf_counter(), os.times()
    run()
    clock, after = time.perf_counter() - started, os.times()
    return clock, sum(after[:4]) - sum(before[:4])
