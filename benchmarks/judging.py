"""Judged inference against the same method called in its own process, start-up apart.

Both sides run in a fresh process with the same threads and the same allocator, in turn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Result
from challenge.configs.loader import load_challenge
from challenge.configs.schema import EntryConfig
from challenge.data import measurements, operators
from challenge.data.challenge import open_challenge
from challenge.data.layout import Public, Workspace
from challenge.data.prepare import prepare
from challenge.methods import registry
from challenge.submissions import judge, pack, runs
from challenge.submissions.allocator import keep_memory
from challenge.submissions.loading import load_folder

METHOD = {"name": "tv", "weight": 0.007, "iterations": 60}


def run(quick: bool = False) -> list[Result]:
    """One result: the ratio of the times for all images; start-up is told beside it."""
    config, source = load_challenge(
        "deblur", ["images.train=4", "images.val=1", f"images.test={4 if quick else 12}"]
    )
    ratios, starts, judged = [], [], []
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
        challenge = open_challenge(place.public(config.name).path)
        entry = EntryConfig(challenge=config.name, name="bench", method=METHOD)
        made = runs.create(place, challenge, entry, place.path)
        runs.finish(made, registry.build(METHOD, place.path), 0.0)
        folder = place.path / "entry"
        folder.mkdir()
        pack.unpack_run(made, folder)
        public = Public(challenge.path)
        sources = [public.measurement("test", each) for each in challenge.ids("test")]
        command = [sys.executable, "-m", "benchmarks.judging", str(folder)]
        command += [str(config.limits.threads), *map(str, sources)]
        for _ in range(1 if quick else 5):
            alone = float(subprocess.run(command, check=True, capture_output=True).stdout)
            found = judge.infer(folder, sources, place.path / "output", config.limits)
            assert found.outcome == "ok", found
            judged.append(found.total - found.start_up)
            starts.append(found.start_up)
            ratios.append(judged[-1] / alone)
    return [
        {
            "what": "judged inference, beside the same calls in-process",
            "measured": statistics.median(ratios),
            "target": 1.05,
            "better": "lower",
            "unit": "x",
            "detail": f"{len(sources)} images in {statistics.median(judged):.2f} s; start-up "
            f"{statistics.median(starts):.2f} s comes on top",
        }
    ]


def in_process(folder: Path, threads: int, sources: list[Path]) -> float:
    """Seconds of the bare calls, after everything was imported and loaded."""
    import torch

    torch.set_num_threads(threads)
    keep_memory()
    method = load_folder(folder)
    started = time.perf_counter()
    for source in sources:
        y, physics = operators.tensors(measurements.read(source))
        with torch.no_grad():
            method(y, physics)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(in_process(Path(sys.argv[1]), int(sys.argv[2]), [Path(each) for each in sys.argv[3:]]))
