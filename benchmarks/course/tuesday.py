"""Bilevel and unrolled methods on photographs: trained, measured, written into the docs.

    python -m benchmarks.course.tuesday TRAIN VAL LEVIN OTHERS [WORKSPACE]

TRAIN and VAL are folders of photographs; LEVIN is the file of the eight Levin kernels, OTHERS one
whose last four kernels are shakes that no training sees. TV and the weights learn on `photographs`:
the first Levin kernel, sigma 0.03. All others learn on `shakes`: the Levin kernels, half of the
draws, and 16 random camera shakes, sigma from 0.02 to 0.075. Monday's `unet` saw `deblur` alone.

Packs the trained methods into `submissions/baselines/` and writes the tables of
`docs/performance.md` between their markers. A run that exists is used again, so it can be stopped
and continued; a method whose run is not finished is left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from deepinv.physics import LinearPhysics
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import pages
from benchmarks.course import baselines
from benchmarks.course.readme import challenge, training
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.data.physics import camera_shake, kernel_files, kernels
from challenge.data.physics.problem import Problem, tensors
from challenge.methods.contract import Method
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.scoring.metrics import psnr, ssim

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- begin: python -m benchmarks.course.tuesday -->", "<!-- end of tuesday -->"
SHAKES = {"count": 16, "size": 25, "seed": 2026}
SIGMAS = "noise.sigma=[0.02, 0.075]"
LEVELS = (12.75 / 255, 17.85 / 255)
"""Noise of the published tables of non-blind deblurring with the Levin kernels."""
DECLARED = "uses.external_data=true"
"""A challenge into which the trained method is packed has other training images."""
FIXED = ["train.minutes=null", "train.tune=8"]

RUNS: dict[str, tuple[str, list[str]]] = {
    "tv": ("photographs", ["tv", "method.weight=null"]),
    "tv-levels": ("shakes", ["tv", "method.weight=null"]),
    "weight": ("photographs", ["bilevel"]),
    "weight-eps": ("photographs", ["bilevel", "method.theta=weight_eps"]),
    "bilevel-convex": ("shakes", ["bilevel_filters", "train.minutes=25", DECLARED]),
    "bilevel-nonconvex": (
        "shakes",
        ["bilevel_filters", "method.potential=nonconvex", "train.minutes=20", DECLARED],
    ),
    "lista": ("shakes", ["lista", "train.minutes=60", DECLARED]),
    "lpd": ("shakes", ["lpd", "train.minutes=20", DECLARED]),
    "network": ("shakes", ["network", "train.steps=null", "train.minutes=60", DECLARED]),
    "unrolled": ("shakes", ["unrolled", *FIXED, "train.steps=20000", DECLARED]),
}
PACKED = ("bilevel-convex", "bilevel-nonconvex", "lista", "lpd", "unrolled")
"""Baselines of the toolkit, with Monday's `unet`."""
ELSEWHERE = ("tv-levels", *PACKED, "network", "unet")
"""What is measured with other kernels and noise levels too."""
Problems = dict[str, Callable[[], Iterator["Case"]]]
Quality = Callable[[str, Method, str, Callable[[], Iterator["Case"]]], tuple[float, float]]
"""Mean PSNR and SSIM of a method, by its name, on cases, by theirs."""


class Case(NamedTuple):
    """One measurement and its truth, batches of one."""

    y: Tensor
    physics: LinearPhysics
    truth: np.ndarray


def main() -> None:
    train, val, levin, others = (Path(each).resolve() for each in sys.argv[1:5])
    workspace = Workspace(Path(sys.argv[5] if len(sys.argv) > 5 else "workspace"))
    prepare(workspace, train, val, levin)
    for name, (problem, settings) in RUNS.items():
        learn(workspace, problem, name, settings)
    trained = [layout.run(workspace, RUNS[name][0], name) for name in PACKED]
    baselines.package(workspace, [run for run in trained if finished(run)])
    baselines.describe()
    write(workspace, levin, others)


def prepare(workspace: Workspace, train: Path, val: Path, levin: Path) -> None:
    """Make both challenges, where they are not there."""
    count = sum(1 for path in val.rglob("*.*") if path.is_file())
    paths = f"{{train: {train}, val: {val}}}"
    images = f"images={{source: folder, path: {paths}, val: {count}, test: 1}}"
    option = ["--workspace", str(workspace.path)]
    if not workspace.public("photographs").config.exists():
        operator = f"operator={{kernel: {{file: {levin}, pick: 0}}, boundary: circular}}"
        settings = ["name=photographs", images, operator, "noise.sigma=0.03"]
        challenge("prepare", "deblur", *settings, *option)
    if not workspace.public("shakes").config.exists():
        drawn = list(camera_shake.camera_shake(SHAKES["size"], SHAKES["count"], SHAKES["seed"]))
        with_shakes(workspace, "shakes", levin, drawn, images, SIGMAS)


def with_shakes(
    workspace: Workspace,
    name: str,
    levin: Path,
    drawn: Sequence[NDArray[np.float64]],
    images: str,
    sigmas: str,
) -> None:
    """Make a challenge whose images have a Levin kernel or one of as many drawn ones.

    Args:
        workspace: where it is made; the kernels lie beside it.
        name: of the challenge.
        levin: the file of the Levin kernels, whose number divides that of those drawn.
        drawn: other kernels, each of shape (k, k).
        images: the setting `images=`.
        sigmas: the setting `noise.sigma=`.
    """
    known = kernel_files.read(levin)
    repeated = [*known] * (len(drawn) // len(known))
    stack = kernels.normalised_stack([*repeated, *drawn], name, lambda words: None)
    workspace.path.mkdir(parents=True, exist_ok=True)
    file = (workspace.path / f"{name}.npz").resolve()
    np.savez(file, kernels=stack)
    operator = f"operator={{kernel: {{file: {file}}}, boundary: circular}}"
    option = ["--workspace", str(workspace.path)]
    challenge("prepare", "deblur", f"name={name}", images, operator, sigmas, *option)


def learn(workspace: Workspace, problem: str, name: str, settings: list[str]) -> None:
    """Train a run, or go on with it, unless it is finished."""
    run = layout.run(workspace, problem, name)
    option = ["--workspace", str(workspace.path)]
    if finished(run):
        return
    if run.config.exists():
        challenge("train", str(run.path), "--resume", *option)
    else:
        config, *settings = settings
        challenge("train", config, f"challenge={problem}", f"name={name}", *settings, *option)


def finished(run: layout.Run) -> bool:
    return run.facts.exists() and json.loads(run.facts.read_text())["state"] == "finished"


def first_kernel(opened: Challenge) -> Iterator[Case]:
    """The measurements of val as `photographs` has them."""
    for identity in opened.ids("val"):
        yield Case(*tensors(opened.measurement("val", identity)), opened.truth(identity))


def kernels_in_turn(opened: Challenge, file: Path, sigma: float, last: int = 0) -> Iterator[Case]:
    """Image n of val with kernel n of a file (of its last ones), in turn; noise of its own."""
    stack = kernels.normalised_stack(kernel_files.read(file)[-last:], str(file), lambda words: None)
    for index, identity in enumerate(opened.ids("val")):
        truth, turn = opened.truth(identity), index % len(stack)
        problem = Problem.of_kernels(stack[turn : turn + 1], sigma)
        measured = problem.measure_stored(truth, identity, b"tuesday", turn)
        yield Case(*tensors(measured), truth)


@torch.no_grad()
def measure(method: Method, cases: Iterator[Case]) -> tuple[float, float, float]:
    """Mean PSNR in dB, mean SSIM, seconds an image."""
    found, seconds = [], 0.0
    for case in cases:
        began = time.perf_counter()
        x_hat = method(case.y, case.physics)[0].numpy()
        seconds += time.perf_counter() - began
        found.append([metric(estimate=x_hat, truth=case.truth) for metric in (psnr, ssim)])
    return (*np.mean(found, axis=0).tolist(), seconds / len(found))


def write(workspace: Workspace, levin: Path, others: Path) -> None:
    """Measure what is finished, and write the tables."""
    opened = open_challenge(workspace.public("photographs").path)
    methods, trained = dict[str, Method](), dict[str, str]()
    for name, (problem, _) in RUNS.items():
        run = layout.run(workspace, problem, name)
        if finished(run):
            methods[name] = load(run.path)
            minutes = json.loads(run.facts.read_text())["seconds"] / 60
            trained[name] = f"{minutes:.0f} min on `{problem}`"
    unet = layout.baselines()["unet"]
    methods["unet"] = load(unet)
    trained["unet"] = f"{training(unet)['seconds'] / 60:.0f} min on `deblur`"
    blocks = [_photographs(opened, methods, trained)]
    elsewhere = {name: method for name, method in methods.items() if name in ELSEWHERE}
    blocks.append(across(elsewhere, other_problems(opened, levin, others)))
    pages.put(PAGE, BEGIN, END, "\n\n".join(blocks))


def _photographs(opened: Challenge, methods: dict[str, Method], trained: dict[str, str]) -> str:
    lines = [
        "| method | PSNR (dB) | over TV | SSIM | parameters | trained | seconds an image |",
        "|---|---|---|---|---|---|---|",
    ]
    base = None
    for name, method in methods.items():
        if name == "tv-levels":
            continue
        level, similarity, seconds = measure(method, first_kernel(opened))
        base = level if base is None else base
        lines.append(
            f"| `{name}` | {level:.2f} | {level - base:+.2f} | {similarity:.3f} | "
            f"{sum(each.numel() for each in method.parameters()):,} | "
            f"{trained[name]} | {seconds:.2f} |"
        )
    return "\n".join(lines) + (
        f"\n\n{len(opened.ids('val'))} photographs (centre, 256x256) that nothing was tuned on; "
        "first Levin kernel, circular, sigma 0.03."
    )


def other_problems(opened: Challenge, levin: Path, others: Path) -> Problems:
    """Kernels and noise levels beside those of `photographs`, by what their columns are called."""
    return {
        "four unseen shakes, 0.03": partial(kernels_in_turn, opened, others, 0.03, 4),
        **{
            f"Levin, {255 * level:.2f}/255": partial(kernels_in_turn, opened, levin, level)
            for level in LEVELS
        },
    }


def measured(
    _name: str, method: Method, _column: str, cases: Callable[[], Iterator[Case]]
) -> tuple[float, float]:
    """Mean PSNR in dB and mean SSIM."""
    return measure(method, cases())[:2]


def across(methods: dict[str, Method], problems: Problems, quality: Quality = measured) -> str:
    """The table of methods on several problems."""
    lines = [
        "| method | " + " | ".join(problems) + " |",
        "|---|" + "---|" * len(problems),
    ]
    for name, method in methods.items():
        cells = [quality(name, method, column, cases) for column, cases in problems.items()]
        lines.append(f"| `{name}` | " + " | ".join(f"{p:.2f} / {s:.4f}" for p, s in cells) + " |")
    return "\n".join(lines) + (
        "\n\nPSNR (dB) / SSIM; the same photographs, each with one kernel, the column's in turn: "
        "circular, colour."
    )


if __name__ == "__main__":
    main()
