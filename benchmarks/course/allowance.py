"""What methods that spend the judge's time are worth: `ensemble` and `adapt` of the best baseline.

    python -m benchmarks.course.allowance VAL LEVIN [WORKSPACE] [IMAGES]

VAL is a folder of photographs, LEVIN the file of the eight Levin kernels. Centre crops of 256x256,
image n with kernel n in turn, circular. Every case that was measured is kept in
`WORKSPACE/measured/`, so that this can be stopped and continued; the table of
`docs/performance.md` has those of the first IMAGES (6) photographs that are there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from benchmarks import pages
from benchmarks.course.kept import Kept
from benchmarks.course.tuesday import Case
from challenge.data.images import codec
from challenge.data.images.codec import to_unit
from challenge.data.layout import Workspace
from challenge.data.physics import kernel_files, kernels
from challenge.data.physics.problem import Problem, tensors
from challenge.methods.end_to_end.adapt import Adapt
from challenge.methods.transforms.symmetries import ORDER, averaged, turn, turn_back
from challenge.methods.transforms.turned_operator import turned
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.scoring.metrics import psnr

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- begin: python -m benchmarks.course.allowance -->", "<!-- end of allowance -->"
NAME = "ensemble"
"""The baseline whose network both of them take."""
LABEL = "allowance"
SIGMAS = (0.03, 0.1, 0.01, 0.05)
SIDE = 256
WORST = 0.02
"""dB that an image may lose."""


def main() -> None:
    val, levin = (Path(each).resolve() for each in sys.argv[1:3])
    kept = Kept(Workspace(Path(sys.argv[3] if len(sys.argv) > 3 else "workspace")))
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 6
    adapt = taken()
    levels = [cases(val, levin, sigma, count) for sigma in SIGMAS]
    for same_image in zip(*levels, strict=True):
        for sigma, (identity, case) in zip(SIGMAS, same_image, strict=True):
            column = f"{sigma:g} {identity}"
            found = kept.kept(LABEL, adapt, column, partial(measure, adapt, case))
            print(column, found, flush=True)
            pages.put(PAGE, BEGIN, END, table(known(kept, adapt)))


def taken() -> Adapt:
    """What adapts the network by itself; eight positions are measured beside it."""
    return Adapt(of=load(layout.baselines()[NAME]).of).eval()


def known(kept: Kept, adapt: Adapt) -> dict[float, list[dict[str, Any]]]:
    """What was measured with these weights, by noise level."""
    found = dict[float, list[dict[str, Any]]]()
    for sigma in sorted(SIGMAS):
        level, _, weights = kept.file(LABEL, adapt, f"{sigma:g}").stem.rpartition("-")
        if files := sorted(kept.folder.glob(f"{level}-*-{weights}.json")):
            found[sigma] = [json.loads(file.read_text()) for file in files]
    return found


def cases(val: Path, levin: Path, sigma: float, count: int) -> Iterator[tuple[str, Case]]:
    """The first photographs of a folder by name, each with its kernel and noise of its own."""
    stack = kernels.normalised_stack(kernel_files.read(levin), str(levin), lambda words: None)
    for index, path in enumerate(sorted(val.rglob("*.png"))[:count]):
        truth = to_unit(codec.centre(codec.photograph(path), SIDE, SIDE))
        turn = index % len(stack)
        problem = Problem.of_kernels(stack[turn : turn + 1], sigma)
        measured = problem.measure_stored(truth, path.stem, b"allowance", turn)
        yield path.stem, Case(*tensors(measured), truth)


@torch.no_grad()
def measure(adapt: Adapt, case: Case) -> dict[str, Any]:
    """PSNR in dB after so many positions or steps, and the seconds until then.

    Returns:
        `turns`: rows of positions, seconds, PSNR; 1: the method by itself. `path`: rows of steps,
        seconds, PSNR, D_t and its standard error. `both`: PSNR of the eight positions of the
        weights that `adapt` chose. `chosen`: their step.
    """
    y, physics, truth = case
    adapt.of(y, physics)  # not timed: the first pass prepares

    def quality(x_hat: Tensor) -> float:
        return psnr(estimate=x_hat[0].numpy(), truth=truth)

    turns = []
    began = time.perf_counter()
    plain = total = adapt.of(y, physics)
    for count, which in enumerate(ORDER, 1):
        if which:
            total = total + turn_back(adapt.of(turn(y, which), turned(physics, which)), which)
        if count in (1, 2, 4, 8):
            turns.append([count, time.perf_counter() - began, quality(total / count)])
    path, theta, bound, spent = [], None, 0.0, turns[0][1]
    began = time.perf_counter()
    for look, weights in adapt.path(y, physics):
        spent += time.perf_counter() - began
        x_hat = plain if not look.step else functional_call(adapt.of, weights, (y, physics))
        path.append([look.step, spent, quality(x_hat), look.difference, look.error])
        if look.above(adapt.margin) < bound:
            theta, bound = weights, look.above(adapt.margin)
            chosen = look.step
        began = time.perf_counter()
    if theta is None:
        return {"turns": turns, "path": path, "chosen": 0, "both": turns[-1][2]}
    mean = averaged(
        lambda which: functional_call(adapt.of, theta, (turn(y, which), turned(physics, which)))
    )
    return {"turns": turns, "path": path, "chosen": chosen, "both": quality(mean)}


def table(found: dict[float, list[dict[str, Any]]]) -> str:
    """Gains over the network by itself, mean and worst image, and the passes that they take."""
    lines = [
        "| sigma | images | alone (dB) | 2 positions | 4 | 8 | worst | `adapt` | worst | changed | "
        "all its steps | worst | both |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lost, times = 0, list[float]()
    for sigma, cases in found.items():
        times += map(passes, cases)
        alone = np.array([each["path"][0][2] for each in cases])
        turns = np.array([[row[2] for row in each["turns"][1:]] for each in cases]) - alone[:, None]
        adapted = adaptations(cases)
        last = np.array([each["path"][-1][2] for each in cases]) - alone
        both = np.array([each["both"] for each in cases]) - alone
        row = [f"{sigma:g}", str(len(cases)), f"{alone.mean():.2f}"]
        row += [f"{gain:+.3f}" for gain in turns.mean(0)] + [f"{turns[:, -1].min():+.3f}"]
        row += [f"{adapted.mean():+.3f}", f"{adapted.min():+.3f}", f"{int((adapted != 0).sum())}"]
        row += [f"{last.mean():+.3f}", f"{last.min():+.3f}", f"{both.mean():+.3f}"]
        lost += int((adapted < -WORST).sum())
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + (
        f"\n\nPhotographs of val (centre, {SIDE}x{SIDE}), Levin kernels in turn, circular; gain in "
        "dB over the network of `ensemble` alone, mean and worst image; images that `adapt` "
        "changed; all of its steps, whatever the estimate says; eight positions of what `adapt` "
        f"chose. `adapt` lost more than {WORST:g} dB on {lost} of {sum(map(len, found.values()))} "
        f"images; it took {np.median(times):.0f} passes of the network, in the median."
    )


def adaptations(cases: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Gains of `adapt` in dB: at the step that it chose."""
    gains = []
    for each in cases:
        levels = {step: level for step, _, level, *_ in each["path"]}
        gains.append(levels[each["chosen"]] - levels[0])
    return np.array(gains)


def passes(case: dict[str, Any]) -> float:
    """Time of `adapt` in passes of the network, eight of which were timed, with the last one."""
    positions, seconds, _ = case["turns"][-1]
    return float(case["path"][-1][1] * positions / seconds + 1)


if __name__ == "__main__":
    main()
