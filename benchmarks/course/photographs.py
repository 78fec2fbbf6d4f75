"""The network on photographs: coupled TV with a tuned weight, and U-Nets after 12 and 60 minutes.

    python -m benchmarks.course.photographs TRAIN VAL KERNELS [WORKSPACE]

TRAIN and VAL are folders of photographs, KERNELS a file whose first kernel is the blur; sigma is
0.03 and the boundary circular. Writes the table of `docs/performance.md` between its markers. A
run that exists already is used again, so it can be stopped and continued.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import pages
from benchmarks.course.readme import challenge
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.runs.facts import read_facts
from challenge.submissions.scoring.metrics import psnr, ssim
from challenge.submissions.scoring.scores import Interval

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = (
    "<!-- begin: python -m benchmarks.course.photographs -->",
    "<!-- end of photographs -->",
)
NAME = "photographs"
COMMON = ["train.lr=2e-3", "train.loss=charbonnier", "train.ema=0.999", "train.steps=null"]
RUNS = {
    "tv": ["tv", "method.weight=null"],
    "unet12": ["network", "train.minutes=12", "train.batch=16", "train.patch=64", *COMMON],
    "unet60": ["network", "train.minutes=60", "train.batch=8", "train.patch=96",
               "method.net.width=48", *COMMON],
}  # fmt: skip


def main() -> None:
    train, val, kernels = (Path(each).resolve() for each in sys.argv[1:4])
    workspace = Workspace(Path(sys.argv[4] if len(sys.argv) > 4 else "workspace"))
    option = ["--workspace", str(workspace.path)]
    if not workspace.public(NAME).config.exists():
        count = sum(1 for path in val.rglob("*.*") if path.is_file())
        images = f"{{source: folder, path: {{train: {train}, val: {val}}}, val: {count}, test: 1}}"
        operator = f"operator={{kernel: {{file: {kernels}, pick: 0}}, boundary: circular}}"
        settings = [f"name={NAME}", f"images={images}", operator, "noise.sigma=0.03"]
        challenge("prepare", "deblur", *settings, *option)
    opened = open_challenge(workspace.public(NAME).path)
    for name, (config, *settings) in RUNS.items():
        run = layout.run(workspace, NAME, name)
        if not run.weights.exists():
            if run.config.exists():
                challenge("train", str(run.path), "--resume", *option)
            else:
                settings = [f"challenge={NAME}", f"name={name}", *settings]
                challenge("train", config, *settings, *option)
        if not run.score("val").exists():
            challenge("infer", str(run.path))
            challenge("score", str(run.path))
    pages.put(PAGE, BEGIN, END, _table(opened, workspace))


def _table(opened: Challenge, workspace: Workspace) -> str:
    ids = opened.ids("val")
    blurred = np.mean(
        [
            [
                metric(estimate=opened.measurement("val", each).y, truth=opened.truth(each))
                for metric in (psnr, ssim)
            ]
            for each in ids
        ],
        axis=0,
    )
    lines = [
        "| method | PSNR (dB) | over TV | SSIM | parameters | steps | seconds an image |",
        "|---|---|---|---|---|---|---|",
        f"| blurred | {blurred[0]:.2f} | | {blurred[1]:.3f} | | | |",
    ]
    base = 0.0
    for name in RUNS:
        run = layout.run(workspace, NAME, name)
        scores, facts = json.loads(run.score("val").read_text()), read_facts(run)
        times = json.loads(run.inference("val").read_text())["seconds"]
        level = Interval(**scores["psnr"])
        base = base or level.mean
        count = facts.parameters
        steps = json.loads(run.log.read_text().splitlines()[-1])["step"] if name != "tv" else ""
        lines.append(
            f"| `{name}` | {level.mean:.2f} [{level.low:.2f}, {level.high:.2f}] | "
            f"{f'{level.mean - base:+.2f}' if name != 'tv' else ''} | "
            f"{scores['ssim']['mean']:.3f} | {f'{count:,}' if count else ''} | {steps} | "
            f"{np.mean(list(times.values())):.2f} |"
        )
    return "\n".join(lines) + (
        f"\n\n{len(ids)} photographs (centre, 256x256) that nothing was tuned on, trained on "
        f"{len(opened.ids('train'))} others; first Levin kernel, sigma 0.03; in brackets the 95 % "
        "bootstrap interval of the mean over the images."
    )


if __name__ == "__main__":
    main()
