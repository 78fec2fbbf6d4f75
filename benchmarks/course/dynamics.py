"""Fixed points and flows beside the unrolled iteration, at equal time of training.

    python -m benchmarks.course.dynamics TRAIN VAL LEVIN OTHERS [WORKSPACE]

Arguments as for `tuesday`, on whose challenge `shakes` all three learn from nothing, with networks
of one shape. Packs `deq` and `neural_ode` into `submissions/baselines/`, judges all three on
`deblur`'s hidden images, and writes the tables of `docs/performance.md`. A run or a verdict that
exists is used again, so it can be stopped and continued.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import pages
from benchmarks.course import baselines, tuesday
from benchmarks.course.kept import Kept
from benchmarks.course.readme import challenge, duration, training
from benchmarks.course.tuesday import DECLARED, PAGE, finished
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.judging.result import Result
from challenge.submissions.reports.comparison import size_of_weights

BEGIN, END = "<!-- begin: python -m benchmarks.course.dynamics -->", "<!-- end of dynamics -->"
TEAM = "dynamics"
BUDGET = ["train.steps=null", "train.minutes=15", "train.tune=8", DECLARED]
SHAPE = ["method.net.width=32", "method.net.blocks=1"]
RUNS = {
    "unrolled-beside": ["unrolled", *SHAPE, *BUDGET],
    "deq": ["deq", *SHAPE, *BUDGET],
    "neural_ode": ["neural_ode", *SHAPE, *BUDGET],
}
PACKED = ("deq", "neural_ode")
"""The unrolled one is packed by `tuesday`, after a longer training."""


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
    opened = open_challenge(workspace.public("photographs").path)
    methods = {name: load(run.path) for name, run in made.items()}
    problems = {
        "first Levin kernel, 0.03": lambda: tuesday.first_kernel(opened),
        **tuesday.other_problems(opened, levin, others),
    }
    across = tuesday.across(methods, problems, Kept(workspace).quality)
    pages.put(PAGE, BEGIN, END, "\n\n".join([_judged(workspace, list(made.values())), across]))


def _judged(workspace: Workspace, runs: list[layout.Run]) -> str:
    """The entries on `deblur`'s hidden images."""
    if not workspace.public("deblur").config.exists():
        challenge("prepare", "deblur", "--workspace", str(workspace.path))
    entries = []
    for run in runs:
        challenge("pack", str(run.path), "--team", TEAM)
        entries.append(layout.entry(workspace, TEAM, run.path.name))
    hidden = workspace.hidden("deblur")
    said = challenge("score", *map(str, entries), "--hidden", str(hidden.path), "--json")
    lines = [
        "| method | PSNR (dB) | SSIM | seconds an image | parameters | trained |",
        "|---|---|---|---|---|---|",
    ]
    for entry, each in zip(entries, json.loads(said), strict=True):
        result = Result.model_validate(each)
        assert result.psnr and result.ssim and result.seconds, result.cause
        facts, parameters = training(entry), size_of_weights(entry)[1]
        lines.append(
            f"| `{result.entry.name}` | {result.psnr.mean:.2f} | {result.ssim.mean:.3f} | "
            f"{result.seconds.total / len(result.images):.2f} | {parameters:,} | "
            f"{duration(facts['seconds'])} |"
        )
    return "\n".join(lines) + (
        f"\n\nAs judged on the {len(hidden.ids())} hidden images of `deblur`, with 2 threads; all "
        "learnt on `shakes`, from nothing, on one core."
    )


if __name__ == "__main__":
    main()
