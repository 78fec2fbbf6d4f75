"""Fixed points and flows beside the unrolled iteration, each with a budget of 15 minutes.

    python -m benchmarks.course.dynamics TRAIN VAL LEVIN OTHERS [WORKSPACE]

Arguments as for `tuesday`, on whose challenge `shakes` all three learn from nothing, with networks
of one shape. Packs `deq` into `submissions/baselines/`, and writes the table of
`docs/performance.md`. A run that exists is used again, so it can be stopped and continued.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from benchmarks import pages
from benchmarks.course import baselines, tuesday
from benchmarks.course.kept import Kept
from benchmarks.course.readme import challenge
from benchmarks.course.tuesday import DECLARED, PAGE, finished
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.entries.load import load

BEGIN, END = "<!-- begin: python -m benchmarks.course.dynamics -->", "<!-- end of dynamics -->"
BUDGET = ["train.steps=null", "train.minutes=15", "train.tune=8", DECLARED]
SHAPE = ["method.net.width=32", "method.net.blocks=1"]
RUNS = {
    "unrolled-beside": ["unrolled", *SHAPE, *BUDGET],
    "deq": ["deq", *SHAPE, *BUDGET],
    "neural_ode": ["neural_ode", *SHAPE, *BUDGET],
}
PACKED = ("deq",)
"""The unrolled one is packed by `tuesday`, after a longer training; there are 60 MB for all."""


def main() -> None:
    train, val, levin, others = (Path(each).resolve() for each in sys.argv[1:5])
    workspace = Workspace(Path(sys.argv[5] if len(sys.argv) > 5 else "workspace"))
    tuesday.prepare(workspace, train, val, levin)
    for name, settings in RUNS.items():
        tuesday.learn(workspace, "shakes", name, settings)
    made = {name: layout.run(workspace, "shakes", name) for name in RUNS}
    made = {name: run for name, run in made.items() if finished(run)}
    baselines.package(workspace, [made[name] for name in PACKED if name in made])
    baselines.describe()
    if not workspace.public("deblur").config.exists():
        challenge("prepare", "deblur", "--workspace", str(workspace.path))
    opened = open_challenge(workspace.public("photographs").path)
    deblur = open_challenge(workspace.public("deblur").path)
    methods = {name: load(run.path) for name, run in made.items()}
    problems: tuesday.Problems = {
        "val of `deblur`": partial(tuesday.first_kernel, deblur),
        "first Levin kernel, 0.03": partial(tuesday.first_kernel, opened),
        **tuesday.other_problems(opened, levin, others),
    }
    across = tuesday.across(methods, problems, Kept(workspace).quality)
    minutes = [json.loads(run.facts.read_text())["seconds"] / 60 for run in made.values()]
    said = ", ".join(f"`{name}` {each:.0f}" for name, each in zip(made, minutes, strict=True))
    how = (
        f"Trained on `shakes` from nothing, on one core beside other programs; minutes: {said}. "
        "The first column is of `deblur`'s own images."
    )
    pages.put(PAGE, BEGIN, END, f"{across}\n\n{how}")


if __name__ == "__main__":
    main()
