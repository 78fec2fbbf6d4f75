"""The curves and the table of `docs/course/monday.md`: short trainings that differ in one thing.

    python -m benchmarks.course.monday [WORKSPACE]

Every group is one `challenge train network --sweep` on `deblur`. What is finished is used again,
so it can be stopped and continued.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import pages
from benchmarks.course.readme import challenge
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.reports.training_pictures import curves
from challenge.submissions.runs.sweep import grid
from challenge.submissions.scoring.metrics import psnr, ssim

FOLDER = Path(__file__).parents[2] / "docs" / "course"
PAGE = FOLDER / "monday.md"
BEGIN, END = "<!-- begin: python -m benchmarks.course.monday -->", "<!-- end -->"
COMMON = ["train.steps=400", "train.batch=8", "train.patch=64", "train.evaluate=50",
          "train.lr=3e-3", "train.ema=0", "train.loss=mse"]  # fmt: skip
SMALL = ["method.net.width=16", "method.net.blocks=1"]
GROUPS: dict[str, tuple[str, list[str]]] = {
    "architecture": ("method.net.architecture=mlp,cnn,resnet,unet", []),
    "normalisation": ("method.net.normalisation=none,batch,group,layer", SMALL),
    "dropout": ("method.net.dropout=0,0.05,0.2", SMALL),
    "decay": ("train.weight_decay=0,0.1,10", [*SMALL, "train.optimiser=adamw"]),
    "schedule": ("train.schedule=constant,step,cosine,warmup_cosine,plateau,one_cycle", SMALL),
    "loss": ("train.loss=mse,l1,charbonnier,huber,ssim", SMALL),
    "ema": ("train.ema=0,0.99,0.999", [*SMALL, "train.schedule=constant"]),
}
DRAWN = ("normalisation", "dropout", "decay", "schedule", "ema")


def main() -> None:
    workspace = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    option = ["--workspace", str(workspace.path)]
    if not workspace.public("deblur").config.exists():
        challenge("prepare", "deblur", *option)
    opened = open_challenge(workspace.public("deblur").path)
    lines = [
        "| what differs | | PSNR (dB) | SSIM | best at step | images/s |",
        "|---|---|---|---|---|---|",
    ]
    for group, (sweep, settings) in GROUPS.items():
        name = f"monday-{group}"
        command = ["train", "network", f"name={name}", *COMMON, *settings, "--sweep", sweep]
        try:
            challenge(*command, "--resume", *option)
        except subprocess.CalledProcessError as error:
            if error.returncode != 1:  # 1: a run of the sweep failed, and its line says so
                raise
        made = {
            point.settings[0].partition("=")[2]: layout.run(workspace, "deblur", point.name)
            for point in grid([sweep], name)
        }
        if group in DRAWN:
            curves(made, FOLDER / f"monday-{group}.png", sweep.partition("=")[0])
        for word, run in made.items():
            lines.append(f"| `{sweep.partition('=')[0]}` | {word} | {_quality(run, opened)} |")
    pages.put(PAGE, BEGIN, END, "\n".join(lines))


def _quality(run: layout.Run, opened: Challenge) -> str:
    """PSNR and SSIM on val, where the PSNR on tune was best, and the speed of the training."""
    if not run.weights.exists():
        return "failed | | |"
    method = load(run.path)
    scores = []
    for identity in opened.ids("val"):
        x_hat = method(*tensors(opened.measurement("val", identity)))[0].detach().numpy()
        truth = opened.truth(identity)
        pair = {"estimate": x_hat, "truth": truth, "crop": opened.crop}
        scores.append((psnr(**pair), ssim(**pair)))
    log = [json.loads(line) for line in run.log.read_text().splitlines()]
    best = max((line for line in log if "psnr" in line), key=lambda line: line["psnr"])
    speed = np.median([line["images_per_s"] for line in log if "images_per_s" in line])
    level, similarity = np.mean(scores, axis=0)
    return f"{level:.2f} | {similarity:.3f} | {best['step']} | {speed:.0f}"


if __name__ == "__main__":
    main()
