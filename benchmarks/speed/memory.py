"""Peak memory of `prepare` and of scoring, with 20 and with 200 images: it must not grow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.speed.timing import Result
from challenge.data.images.leaves import leaves

PEAK = """
import sys, threading, time
import psutil

def high_water(process):
    try:
        with open(f"/proc/{process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration, psutil.Error):
        return 0

own, peak, running = psutil.Process(), 0, True

def watch():
    global peak
    while running:
        for process in [own, *own.children(recursive=True)]:
            peak = max(peak, high_water(process))
        time.sleep(0.02)

thread = threading.Thread(target=watch)
thread.start()
try:
    from challenge.cli.main import app
    app(sys.argv[1:], standalone_mode=False)
finally:
    peak, running = max(peak, high_water(own)), False
    thread.join()
print("peak", peak)
"""
"""Runs a command; prints the largest resident set of it or one of its children, in kB (Linux).

The high-water mark of `/proc` starts anew with each program; that of `getrusage` does not, and
would show the memory of the process that measures.
"""


def peak_mb(folder: Path, *command: str) -> float:
    """Peak memory of a command, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1]) / 1024


def photographs(folder: Path, count: int, side: int = 512) -> None:
    """Write `count` different pictures of `side` x `side` pixels."""
    folder.mkdir()
    for index in range(count):
        pixels = leaves(0, index, side).transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{index:04}.png", compress_level=1)


def run(quick: bool = False) -> list[Result]:
    """Two results: growth of the peak from 20 to 200 images, for `prepare` and for `score`."""
    few, many = (4, 12) if quick else (20, 200)
    peaks: dict[str, list[float]] = {"prepare": [], "score": []}
    with tempfile.TemporaryDirectory() as name:
        photographs(Path(name) / "photos", many + 10)
        for count in (few, many):
            folder = Path(name) / str(count)
            folder.mkdir()
            settings = [
                "name=memory",
                "images={source: folder, path: ../photos}",
                f"images.val={count}",
                "images.test=2",
                "images.size=512",
            ]
            peaks["prepare"].append(peak_mb(folder, "prepare", "deblur", *settings))
            peak_mb(folder, "train", "wiener", "challenge=memory")
            run_folder = "workspace/runs/memory/wiener"
            peak_mb(folder, "infer", run_folder)
            peaks["score"].append(peak_mb(folder, "score", run_folder))
    return [
        {
            "what": f"peak memory of `{command}`, {many} images beside {few}",
            "measured": after / before,
            "target": 1.1,
            "better": "lower",
            "unit": "x",
            "detail": f"{after:.0f} MB and {before:.0f} MB",
        }
        for command, (before, after) in peaks.items()
    ]
