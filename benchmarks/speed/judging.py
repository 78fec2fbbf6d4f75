"""What judging costs: inference against the same method called in its own process, at each level
of isolation; the start of a jail; the intake of a large entry; the board of a thousand results.

Both sides of a ratio run in a fresh process with the same threads and allocator, in turn.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.speed.timing import Result, seconds
from challenge.configs.loader import load_challenge
from challenge.configs.schema.challenge import Limits, Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.data.physics import measurements, problem
from challenge.methods import registry
from challenge.submissions import scratch
from challenge.submissions.entries import archive, pack, packages
from challenge.submissions.entries.check import check
from challenge.submissions.inference import supervisor
from challenge.submissions.inference.loading import load_folder
from challenge.submissions.jail import levels, spawn
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging import board, result, result_files
from challenge.submissions.machine import keep_memory
from challenge.submissions.runs import storage

METHOD = {"name": "tv", "weight": 0.007, "iterations": 60}


def run(quick: bool = False) -> list[Result]:
    """Judged inference and the start of a jail at every level that holds here; intake; board."""
    here = [level for level in levels.LEVELS if not probe.works(level)]
    return [*inference(quick, here), *start(quick, here), intake(quick), board_of_many(quick)]


def inference(quick: bool, here: list[Level]) -> list[Result]:
    """The ratio of the times for all images; start-up is told beside it."""
    config, source = load_challenge(
        "deblur", ["images.train=4", "images.val=1", f"images.test={4 if quick else 12}"]
    )
    found_results: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
        challenge = open_challenge(place.public(config.name).path)
        entry = EntryConfig(challenge=config.name, name="bench", method=METHOD)
        made = storage.create(place, challenge, entry, place.path)
        storage.finish(made, registry.build(METHOD, place.path), 0.0)
        folder = place.path / "entry"
        folder.mkdir()
        pack.copy_entry_files(made, folder)
        hidden = place.hidden(config.name)
        sources = [hidden.measurement(each) for each in hidden.ids()]
        command = [sys.executable, "-m", "benchmarks.speed.judging", str(folder)]
        command += [str(config.limits.threads), *map(str, sources)]
        ratios: dict[str, list[float]] = {level: [] for level in here}
        starts: dict[str, list[float]] = {level: [] for level in here}
        judged: dict[str, list[float]] = {level: [] for level in here}
        for _ in range(1 if quick else 5):
            alone = float(subprocess.run(command, check=True, capture_output=True).stdout)
            for level in here:
                output = place.path / "output"
                found = supervisor.infer(
                    folder, sources, output, config.limits, Jail(level, supervisor.RUNNER)
                )
                assert found.outcome == "ok", found
                judged[level].append(found.total - found.start_up)
                starts[level].append(found.start_up)
                ratios[level].append(judged[level][-1] / alone)
    for level in here:
        median = statistics.median(judged[level])
        found_results.append(
            {
                "what": f"judged inference ({level}), beside the same calls in-process",
                "measured": statistics.median(ratios[level]),
                "target": 1.05,
                "better": "lower",
                "unit": "x",
                "detail": f"{len(sources)} images in {median:.2f} s; start-up "
                f"{statistics.median(starts[level]):.2f} s comes on top",
            }
        )
    return found_results


def start(quick: bool, here: list[Level]) -> list[Result]:
    """Seconds from spawn to the first line of the runner, beyond a plain Python's."""
    pairs = 3 if quick else 15
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        runner = Path(name) / "nothing.py"
        runner.write_text("")
        plain = [sys.executable, "-c", ""]

        def jailed(level: Level) -> Callable[[], None]:
            jail = Jail(level, runner, permitted=packages.readable(Rules()))

            def begin() -> None:
                with scratch.folder("bench") as folder, scratch.folder("entry") as entry:
                    spawn.spawn(jail, folder, entry, Limits(), []).communicate()

            return begin

        for level in here:
            times = [
                (seconds(jailed(level)), seconds(lambda: subprocess.run(plain, check=True)))
                for _ in range(pairs)
            ]
            found.append(
                {
                    "what": f"start of a jail ({level}), beyond a plain Python",
                    "measured": statistics.median(one - other for one, other in times),
                    "target": 0.3,
                    "better": "lower",
                    "unit": "s",
                    "detail": f"{statistics.median(one for one, _ in times):.3f} s beside "
                    f"{statistics.median(other for _, other in times):.3f} s",
                }
            )
    return found


def intake(quick: bool) -> Result:
    """Seconds of the static check of an entry of 100 MB."""
    size = 99_900_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = json.dumps(
            {"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
        ).encode()
        rng = np.random.default_rng(0)
        values = rng.standard_normal(size // 4, dtype=np.float32).tobytes()
        weights = struct.pack("<Q", len(header)) + header + values
        config = b"challenge: deblur\nmethod: {name: wiener}\nname: large\n"
        files = {"config.yaml": config, "weights.safetensors": weights}
        facts = {
            "format": 1,
            "team": "alpha",
            "name": "large",
            "challenge": {"name": "deblur", "hash": "0" * 64},
            "versions": {},
            "uses": {"pretrained": False, "external_data": False},
            "files": {
                key: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                for key, content in files.items()
            },
        }
        path = folder / "alpha-large.zip"
        manifest = json.dumps(facts).encode()
        archive.write(path, {"manifest.json": [manifest], **{k: [v] for k, v in files.items()}})
        problems = check(path)
        assert not problems, problems
        taken = [seconds(lambda: check(path)) for _ in range(1 if quick else 5)]
    return {
        "what": "intake check of an entry of 100 MB",
        "measured": statistics.median(taken),
        "target": 2.0,
        "better": "lower",
        "unit": "s",
        "detail": f"{path.name}, between {min(taken):.2f} and {max(taken):.2f} s",
    }


def board_of_many(quick: bool) -> Result:
    """Seconds from a thousand results on disk to the rows of the board."""
    many = 1000
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        images = [{"id": f"{n:04}", "psnr": 25.0, "ssim": 0.7, "seconds": 1.0} for n in range(20)]
        for number in range(many):
            hashes = [hashlib.sha256(b"%d" % number).hexdigest(), "c" * 64, "d" * 64]
            value = {"mean": 20 + number / 100, "low": 19.0, "high": 40.0}
            result_files.save(
                place,
                result.Result.model_validate(
                    {
                        "entry": {
                            "hash": hashes[0],
                            "team": f"t{number % 50}",
                            "name": "x",
                            "uses": {},
                        },
                        "challenge": {"hash": hashes[1], "name": "deblur", "practice": False},
                        "judge": {"hash": hashes[2], "isolation": {"level": "landlock"}},
                        "outcome": "ok",
                        "psnr": value,
                        "ssim": value,
                        "received": "2026-12-01T10:00:00+00:00",
                        "judged_at": "2026-12-01T10:00:00+00:00",
                        "images": images,
                        "log": "a line that a method printed\n" * 100,
                    }
                ),
            )
        rules = Rules(entries_per_day=1000)
        found = board.rows(result_files.read_all(place), rules)
        assert sum(row.entries for row in found) == many
        taken = [
            seconds(lambda: board.rows(result_files.read_all(place), rules))
            for _ in range(2 if quick else 7)
        ]
    return {
        "what": "board of 1,000 results",
        "measured": statistics.median(taken),
        "target": 0.5,
        "better": "lower",
        "unit": "s",
        "detail": "of 20 images each, with a log of 3 kB",
    }


def in_process(folder: Path, threads: int, sources: list[Path]) -> float:
    """Seconds of the bare calls, after everything was imported and loaded."""
    import torch

    torch.set_num_threads(threads)
    keep_memory()
    method = load_folder(folder)
    started = time.perf_counter()
    for source in sources:
        y, physics = problem.tensors(measurements.read(source))
        with torch.no_grad():
            method(y, physics)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(in_process(Path(sys.argv[1]), int(sys.argv[2]), [Path(each) for each in sys.argv[3:]]))
