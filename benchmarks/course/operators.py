"""Make the README's table of `inpainting` and `superresolution`: every method, packed and judged.

    python -m benchmarks.course.operators PHOTOGRAPHS VAL [WORKSPACE]

PHOTOGRAPHS and VAL are folders of photographs. The networks train for 15 minutes each on those of
PHOTOGRAPHS, in WORKSPACE/photographs, and all entries are judged on the practice images in
WORKSPACE, which nothing was tuned on. A run or verdict that exists already is used again, so it
can be stopped and continued. Let nothing else run while it trains or judges.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks import pages
from benchmarks.course.readme import ROOT, challenge, duration, training
from challenge.data.images.codec import stored, to_unit
from challenge.data.layout import Hidden, Workspace
from challenge.data.physics.measurements import read
from challenge.data.physics.problem import tensors
from challenge.submissions import layout
from challenge.submissions.judging.result import Result
from challenge.submissions.scoring.metrics import psnr, ssim

CHALLENGES = ("inpainting", "superresolution")
QUICK = {"wiener": [], "tv": ["method.weight=null"]}
"""Tuned on the practice images for training."""
MINUTES = ["train.minutes=15"]
TRAINED = {
    "network": [*MINUTES, "train.steps=null"],
    "unrolled": [*MINUTES, "train.batch=16", "method.steps=4", "method.net.width=16"],
    "lpd": MINUTES,
}
BEGIN, END = "<!-- begin: python -m benchmarks.course.operators -->", "<!-- end of operators -->"


def main() -> None:
    photographs, val = (Path(each).resolve() for each in sys.argv[1:3])
    workspace = Workspace(Path(sys.argv[3] if len(sys.argv) > 3 else "workspace"))
    larger = Workspace(workspace.path / "photographs")
    folders = f"{{source: folder, path: {{train: {photographs}, val: {val}}}, val: 24, test: 1}}"
    judged = {}
    for name in CHALLENGES:
        prepare(workspace, name)
        prepare(larger, name, f"images={folders}")
        zips = [made(workspace, name, method, knobs) for method, knobs in QUICK.items()]
        for method, knobs in TRAINED.items():
            # Packed anew for the practice images, whose preparation is another one.
            trained = str(made(larger, name, method, knobs))
            option = ["--team", name, "--workspace", str(workspace.path)]
            challenge("pack", trained, *option)
            zips.append(layout.entry(workspace, name, method))
        hidden = workspace.hidden(name)
        said = challenge("score", *map(str, zips), "--hidden", str(hidden.path), "--json")
        results = [Result.model_validate(each) for each in json.loads(said)]
        judged[name] = dict(zip([*QUICK, *TRAINED], zip(results, zips, strict=True), strict=True))
    pages.put(ROOT / "README.md", BEGIN, END, table(workspace, judged))


def prepare(workspace: Workspace, name: str, *settings: str) -> None:
    """Prepare a challenge, unless it is there."""
    if not workspace.public(name).config.exists():
        challenge("prepare", name, *settings, "--workspace", str(workspace.path))


def made(workspace: Workspace, name: str, method: str, knobs: list[str]) -> Path:
    """The entry of a method, trained and packed where it is not there yet."""
    run = layout.run(workspace, name, method)
    option = ["--workspace", str(workspace.path)]
    if not run.weights.exists():
        if run.config.exists():
            challenge("train", str(run.path), "--resume", *option)
        else:
            challenge("train", method, f"challenge={name}", f"name={method}", *knobs, *option)
    # Two challenges of one team: an entry's file is named by team and run.
    challenge("pack", str(run.path), "--team", name)
    return layout.entry(workspace, name, method)


def linear(hidden: Hidden, what: str) -> tuple[float, float]:
    """Mean PSNR and SSIM of the measurements as pictures, or of deepinv's pseudo-inverse."""
    scores = []
    for identity in hidden.ids():
        measurement = read(hidden.measurement(identity))
        truth = to_unit(stored(hidden.image(identity)))
        found = measurement.picture
        if what != "measured":
            y, physics = tensors(measurement)
            with torch.no_grad():
                found = physics.A_dagger(y)[0].numpy()
        scores.append((psnr(estimate=found, truth=truth), ssim(estimate=found, truth=truth)))
    level, similarity = np.mean(scores, axis=0)
    return float(level), float(similarity)


def table(workspace: Workspace, judged: dict[str, dict[str, tuple[Result, Path]]]) -> str:
    """The rows in the order of their PSNR on the first challenge."""
    rows: dict[str, list[str]] = {}
    order: dict[str, float] = {}
    for name in CHALLENGES:
        for what in ("measured", "A_dagger"):
            level, similarity = linear(workspace.hidden(name), what)
            rows.setdefault(what, []).append(f"{level:.2f} | {similarity:.3f} | ")
            order.setdefault(what, level)
        for method, (result, _) in judged[name].items():
            assert result.psnr and result.ssim, result.cause
            mean, low, high = result.psnr.mean, result.psnr.low, result.psnr.high
            seconds = np.mean([each.seconds for each in result.images])
            cells = f"{mean:.2f} [{low:.2f}, {high:.2f}] | {result.ssim.mean:.3f} | {seconds:.2f}"
            rows.setdefault(f"`{method}`", []).append(cells)
            order.setdefault(f"`{method}`", mean)
    head = " | ".join(f"{name}, PSNR (dB) | SSIM | seconds" for name in CHALLENGES)
    lines = [f"| method | {head} | trained |", "|---" * (2 + 3 * len(CHALLENGES)) + "|"]
    first = judged[CHALLENGES[0]]
    for row in sorted(rows, key=order.__getitem__):
        facts = training(first[row.strip("`")][1]) if row.strip("`") in TRAINED else None
        how = f"{duration(facts['seconds'])} on {facts['images']} photographs" if facts else ""
        lines.append(f"| {row} | {' | '.join(rows[row])} | {how} |")
    count = len(workspace.hidden(CHALLENGES[0]).ids())
    return "\n".join(lines) + (
        f"\n\nAs judged on the {count} hidden test images of each challenge, with 2 threads: half "
        "of the pixels and sigma 0.03; factor 2 and sigma 0.01. Measured: unseen pixels are black, "
        "large pixels repeated; A_dagger is deepinv's pseudo-inverse. Made by "
        "`python -m benchmarks.course.operators`."
    )


if __name__ == "__main__":
    main()
