"""The process of a cluster's worker that runs entries: one after the other, from files to files.

    python -I -m challenge.submissions.judging.inferring  < requests  > answers

Both are JSON objects, a line each. A request names a folder with the entry, `entry.zip`, and the
runner, `runner.py`; and stored measurements, limits, and how the entry is shut in. Answers are
`step` after each reconstruction, which is in `made/` of the folder then; at the end `ran`, or
`fault` where our own part failed. Truth and key never come here, only sizes and digests (`closed`)
by which copies of them are kept closed.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from challenge.configs.schema.challenge import Limits
from challenge.submissions.inference.supervisor import Step
from challenge.submissions.jail.probe import choose
from challenge.submissions.judging import originals
from challenge.submissions.judging.run import Order, run_here
from challenge.submissions.judging.worker import die_with_parent


def main() -> None:
    """Run what stdin names, one entry after the other."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    # Whatever a library prints is not an answer.
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    for line in sys.stdin:
        try:
            answer(ran=_run(json.loads(line), lambda step: answer(step=asdict(step))))
        except Exception:
            answer(fault=traceback.format_exc())


def _run(request: dict[str, Any], progress: Callable[[Step], None]) -> dict[str, Any]:
    """Run an entry; what came of it, but for the reconstructions, which are files."""
    if request["cores"]:
        os.sched_setaffinity(0, request["cores"])
    folder, permitted = Path(request["folder"]), frozenset(request["permitted"])
    kept = [Path(each) for each in request["measurements"]]
    closed = originals.equal_to([(size, text) for size, text in request["closed"]], permitted)
    protected = {folder, *(each.parent for each in kept), *closed}
    jail = choose.jail(
        request["level"], folder / "runner.py", *sorted(protected), permitted=permitted
    )
    order = Order(
        entry=folder / "entry.zip",
        name=request["name"],
        measurements=tuple(kept),
        limits=Limits(**request["limits"]),
        jail=jail,
        repeats=request["repeats"],
    )
    made = folder / "made"
    made.mkdir()
    ran = run_here(order, made, progress)
    return {
        "inference": asdict(ran.inference),
        "second": ran.second and asdict(ran.second),
        "load": ran.load.model_dump(mode="json"),
        "machine": ran.machine,
        "versions": ran.versions,
    }


if __name__ == "__main__":
    main()
