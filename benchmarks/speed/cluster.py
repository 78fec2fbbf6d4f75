"""What many machines cost: how well workers are kept busy, and what an entry costs beside
`--workers`.

    efficiency = entries * seconds of an entry / (workers * seconds of all)

Entries of which all work is sleep, so that one machine holds many workers: those of `--scheduler
local`, but for cores of their own. What is measured is Dask, intake, scorer and results.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from benchmarks.speed.timing import Result
from challenge.configs.loader import load_challenge
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.methods import registry
from challenge.submissions import layout
from challenge.submissions.entries.pack import pack
from challenge.submissions.judging import connection
from challenge.submissions.judging.cluster import Cluster
from challenge.submissions.judging.judge import Judge, open_judge
from challenge.submissions.judging.pool import judge_all
from challenge.submissions.runs import storage

SLEEPER = """
import io, sys, time
import numpy as np
from challenge.submissions.inference import runner

def estimate(state, content):
    with np.load(io.BytesIO(content), allow_pickle=False) as fields:
        x_hat = np.ascontiguousarray(fields["y"])
    time.sleep({seconds})
    return {{"kind": "estimate", "type": "Tensor", "dtype": "float32",
            "shape": [1, *x_hat.shape]}}, x_hat.tobytes()

if __name__ == "__main__":
    runner.serve(*runner.private_pipes(), load=dict, estimate=estimate, test=lambda header: [])
"""
IMAGES = 2
EACH = 2
"""Entries of a worker."""
UP = 5.0
"""Seconds of the first entry of each worker, which is not looked at."""
SLEEP = {2: 30.0, 8: 120.0, 32: 480.0}
"""Seconds that an entry sleeps, by the number of workers. The cores of one machine start the
processes of all entries, a second of a core each, which machines of their own would share: so that
a core has as much to do with many workers as with two, entries are as much longer."""


def run(quick: bool = False) -> list[Result]:
    """Efficiency with 2 and 8 workers; overhead of an entry beside `--workers`."""
    with _challenge(EACH * (2 if quick else 8)) as (place, challenge, entries):
        many = {2: 4.0} if quick else {each: SLEEP[each] for each in (2, 8)}
        found = [efficiency(place, challenge, entries, *each) for each in many.items()]
        return [*found, _overhead(place, challenge, entries[: 2 if quick else 6])]


def run_many(quick: bool = False) -> list[Result]:
    """Efficiency with 32 workers, which take minutes to start on the cores of one machine."""
    workers = 4 if quick else 32
    with _challenge(EACH * workers) as (place, challenge, entries):
        seconds = 4.0 if quick else SLEEP[workers]
        return [efficiency(place, challenge, entries, workers, seconds)]


@contextmanager
def _challenge(count: int) -> Iterator[tuple[Workspace, Challenge, list[Path]]]:
    """A small one, with so many entries."""
    with tempfile.TemporaryDirectory() as name:
        place = Workspace(Path(name))
        config, source = load_challenge(
            "deblur",
            [
                *("images.train=4", "images.val=1", f"images.test={IMAGES}"),
                *("images.size=64", "limits.threads=1", "limits.minutes=30"),
            ],
        )
        prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
        challenge = open_challenge(place.public(config.name).path)
        yield place, challenge, packed(place, challenge, count)


def packed(place: Workspace, challenge: Challenge, count: int) -> list[Path]:
    """So many different entries, which are small."""
    made = []
    for number in range(count):
        method = {"name": "wiener", "strength": 0.01 * (number + 1)}
        entry = EntryConfig(challenge=challenge.config.name, name=f"e{number}", method=method)
        run = storage.create(place, challenge, entry, place.path)
        storage.finish(run, registry.build(method, place.path), 0.0)
        made.append(layout.entry(place, "bench", f"e{number}"))
        pack(run, "bench", made[-1], challenge, None)
    return made


def _judge(place: Workspace, challenge: Challenge, seconds: float) -> Judge:
    """A judge of entries that sleep so many seconds in all."""
    runner = place.path / f"sleeper-{seconds}.py"
    runner.write_text(SLEEPER.format(seconds=seconds / (IMAGES + 1)))
    hidden = place.hidden(challenge.config.name)
    return open_judge(place, challenge, hidden, None, level="process", runner=runner)


def efficiency(
    place: Workspace, challenge: Challenge, entries: Sequence[Path], workers: int, seconds: float
) -> Result:
    judge, mine = _judge(place, challenge, seconds), entries[: EACH * workers]
    with connection.connect(connection.LOCAL, workers=workers) as client:
        limits = challenge.config.limits
        # Each starts its process for entries with the first one.
        _seconds(
            _judge(place, challenge, UP),
            mine[:workers],
            Cluster(client, place, limits, own_cores=False),
        )
        took = _seconds(judge, mine, Cluster(client, place, limits, own_cores=False))
    # The first image is handed over once more, so an entry sleeps for all of its seconds.
    share = len(mine) * seconds / (workers * took)
    return {
        "what": f"efficiency of {workers} workers, entries that sleep {seconds:g} s",
        "measured": share,
        "target": 0.95,
        "better": "higher",
        "unit": "",
        "detail": f"{len(mine)} entries in {took:.1f} s",
    }


def _overhead(place: Workspace, challenge: Challenge, entries: Sequence[Path]) -> Result:
    """Seconds of an entry, one after the other, on one worker of each kind."""
    judge = _judge(place, challenge, 0.0)
    with connection.connect(connection.LOCAL, workers=1) as client:
        cluster = Cluster(client, place, challenge.config.limits, own_cores=False)
        ends = [*_ends(judge, entries[:1]), *_ends(judge, entries)]
        there = _between([*_ends(judge, entries, cluster)])
    here = _between(ends[1:])
    return {
        "what": "overhead of an entry on a Dask worker, beside one on this machine",
        "measured": there - here,
        "target": 1.0,
        "better": "lower",
        "unit": "s",
        "detail": f"{there:.2f} s beside {here:.2f} s, from one verdict to the next",
    }


def _ends(judge: Judge, entries: Sequence[Path], cluster: Cluster | None = None) -> Iterator[float]:
    for judged in judge_all(judge, entries, rejudge="all", cluster=cluster):
        assert judged.result is not None and judged.result.outcome == "ok", judged
        yield time.monotonic()


def _between(ends: Sequence[float]) -> float:
    return statistics.median(after - before for before, after in pairwise(ends))


def _seconds(judge: Judge, entries: Sequence[Path], cluster: Cluster) -> float:
    began = time.monotonic()
    *_, last = _ends(judge, entries, cluster)
    return last - began
