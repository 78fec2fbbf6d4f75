"""What a verdict costs the organiser's process, where others run the entries: the plan of
docs/cluster.md for 10,000 entries a day, one every 8.64 s.

Workers are simulated: measurements come back as reconstructions, as bytes in memory, and nothing
runs. What is left is intake, check, register, scorer, pictures and verdict; then the board of all.
Seconds are of the processor with all children, the median over entries: they add up, on however
many cores.
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed import pages
from benchmarks.speed.cluster import packed
from benchmarks.speed.memory import photographs
from benchmarks.speed.timing import Result
from challenge.configs.loader import load_challenge
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.judging import received, result_files
from challenge.submissions.judging.judge import Judge, judge_entry, open_judge
from challenge.submissions.judging.load import Load
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result as Verdict
from challenge.submissions.judging.result import Where
from challenge.submissions.judging.run import Order, Ran
from challenge.submissions.scoring.scores import Scorers

DAY = 10_000
"""Entries."""
PACE = 86_400 / DAY
"""Seconds from one to the next."""
EACH = 25
"""Entries of a team: the board compares every two teams."""
IMAGES, SIDE = 24, 256
LINE = 125.0
"""Megabytes a second of a network of 1 Gbit/s."""


def run(quick: bool = False) -> list[Result]:
    """Processor time of a verdict, bytes sent for it, and the board of a day's results."""
    count, many = (4, 200) if quick else (24, DAY)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs(folder / "photos", IMAGES + 4, SIDE)
        config, source = load_challenge(
            "deblur",
            [
                "name=pages",
                f"images={{source: folder, path: {folder / 'photos'}}}",
                *(f"images.size={SIDE}", f"images.test={IMAGES}", "images.val=2"),
                "limits.threads=1",
            ],
        )
        place = Workspace(folder / "workspace")
        prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
        challenge = open_challenge(place.public(config.name).path)
        entries = packed(place, challenge, count)
        found = _verdicts(place, challenge, entries)
        found.append(_sent(place, challenge, entries[0]))
        stored = [*layout.results(place).glob("*.json")]
        size = statistics.median(each.stat().st_size for each in stored)
        found += _board(place, challenge, many, size)
        return found


def _verdicts(place: Workspace, challenge: Challenge, entries: Sequence[Path]) -> list[Result]:
    """Processor seconds of a verdict, alone and with a day's register of first sight."""
    judge = open_judge(place, challenge, place.hidden(challenge.config.name), None, level="process")
    with Scorers() as scorers:
        judge = replace(judge, runs=_simulated(), scores=scorers.score_images)
        judge_entry(judge, entries[0])
        half = len(entries) // 2
        empty = _each(judge, entries[1:half])
        _fill_register(place)
        full = _each(judge, entries[half:])
    return [
        {
            "what": f"the organiser's part of a verdict, {IMAGES} images 3x{SIDE}x{SIDE}",
            "measured": full,
            "target": PACE,
            "better": "lower",
            "unit": "s",
            "detail": f"processor time, {DAY:,} entries in the register; {empty:.2f} s with none; "
            f"{DAY:,} a day are one every {PACE:.2f} s",
        }
    ]


def _each(judge: Judge, entries: Sequence[Path]) -> float:
    return statistics.median(_processor(partial(judge_entry, judge, each)) for each in entries)


def _processor(run: Callable[[], object]) -> float:
    """Processor seconds of this process, its ended children, and the scorer, which stays."""
    import psutil

    def spent() -> float:
        times = os.times()
        living = [each.cpu_times() for each in psutil.Process().children()]
        return sum(times[:4]) + sum(each.user + each.system for each in living)

    before = spent()
    run()
    return spent() - before


def _simulated() -> Callable[[Order, Path, Callable[[Step], None] | None], Ran]:
    """What `cluster` does with a worker's answer: it writes the arrays."""
    kept: dict[Path, bytes] = {}

    def content(path: Path) -> bytes:
        if path not in kept:
            with np.load(path, allow_pickle=False) as fields:
                file = io.BytesIO()
                np.save(file, np.ascontiguousarray(fields["y"], dtype=np.float32))
            kept[path] = file.getvalue()
        return kept[path]

    def run(order: Order, made: Path, progress: Callable[[Step], None] | None) -> Ran:
        for path in order.measurements:
            (made / f"{path.stem}.npy").write_bytes(content(path))
        seconds = {path.stem: 1.0 for path in order.measurements}
        total = 5.0 + len(seconds)
        return Ran(
            inference=Inference("ok", "", seconds, 5.0, total, total, 10**9, ""),
            load=Load(cores=1, foreign=0.0),
            where=Where(host="simulated", reference=False, projected=(total, total, total)),
        )

    return run


def _fill_register(place: Workspace) -> None:
    """As many as come in a day."""
    path = layout.received(place)
    moment = "2026-12-01T10:00:00+00:00"
    lines = [
        Sight(
            entry=f"{number:064x}",
            file=f"team-{number // EACH}-e{number}.zip",
            team=f"team-{number // EACH}",
            name=f"e{number}",
            seen=moment,
            modified=moment,
            received=moment,
        ).model_dump_json()
        for number in range(DAY)
    ]
    atomic.write_text(path, path.read_text() + "\n".join(lines) + "\n")
    assert len(received.read(place)) > DAY


def _sent(place: Workspace, challenge: Challenge, entry: Path) -> Result:
    hidden = place.hidden(challenge.config.name)
    measured = sum(hidden.measurement(each).stat().st_size for each in hidden.ids()) / 1e6
    back, there = IMAGES * 3 * SIDE**2 * 4 / 1e6, entry.stat().st_size / 1e6
    return {
        "what": f"sent for an entry, {IMAGES} images 3x{SIDE}x{SIDE}",
        "measured": there + back,
        "target": PACE * LINE,
        "better": "lower",
        "unit": "MB",
        "detail": f"{back:.1f} MB back, and the entry; measurements once a worker, "
        f"{measured:.1f} MB; asked is what 1 Gbit/s carries in {PACE:.2f} s",
    }


def _board(place: Workspace, challenge: Challenge, count: int, size: float) -> list[Result]:
    """Seconds of `challenge board` with a day's results."""
    for each in layout.results(place).glob("*.json"):
        each.unlink()
    hidden = place.hidden(challenge.config.name)
    some = [pages.verdict(challenge, hidden, number) for number in range(100)]
    for number in range(count):
        _write(place, _of_a_team(some[number % len(some)], number))
    clock, work = pages.call(place.path.parent, "board", "--json")
    return [
        {
            "what": f"`challenge board` with {count:,} verdicts of {count // EACH:,} teams",
            "measured": min(clock, work),
            "target": 60.0,
            "better": "lower",
            "unit": "s",
            "detail": f"{IMAGES} images; a verdict is a file of {size / 1000:.1f} kB",
        }
    ]


def _of_a_team(verdict: Verdict, number: int) -> Verdict:
    """Another entry, scored a little otherwise."""
    entry = verdict.entry.model_copy(
        update={"hash": f"{number:064x}", "team": f"team {number // EACH}", "name": f"e{number}"}
    )
    images = tuple(
        each.model_copy(update={"psnr": (each.psnr or 0.0) + number * 1e-3})
        for each in verdict.images
    )
    return verdict.model_copy(update={"entry": entry, "images": images})


def _write(place: Workspace, verdict: Verdict) -> None:
    hashes = verdict.entry.hash, verdict.challenge.hash, verdict.judge.hash
    path = result_files.path_of(place, *hashes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(verdict.model_dump_json(exclude_unset=True))
