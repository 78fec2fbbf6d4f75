"""The best entry that comes with the toolkit: measured on photographs, and where it fails.

    python -m benchmarks.course.flagship VAL LEVIN [WORKSPACE]

VAL is a folder of photographs that nothing was tuned on, LEVIN the file of the eight Levin kernels;
the total variation beside it has the weights that `tuesday` tuned, WORKSPACE's run `tv-levels` of
`shakes`. What was measured is kept there (`kept.py`), so this can be stopped and continued: Ctrl-C
writes what is there. Writes the tables and plots of `docs/flagship.md`; the entries are judged on
`deblur` by `python -m benchmarks.course.readme`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pages
from benchmarks.course import allowance, flagship_pictures
from benchmarks.course.flagship_problems import (
    ASKED,
    CROP,
    EVERY,
    SIDE,
    SIGMA,
    SIZE,
    Setting,
    changed,
    described,
    protocols,
    settings,
)
from benchmarks.course.kept import Kept
from benchmarks.course.tuesday import Case
from challenge.configs.errors import UserError
from challenge.data.layout import Workspace
from challenge.methods.contract import Method
from challenge.methods.end_to_end.adapt import Adapt
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.scoring.metrics import psnr, ssim

PAGE = Path(__file__).parents[2] / "docs" / "flagship.md"
BEGIN, END = "<!-- begin: python -m benchmarks.course.flagship -->", "<!-- end of flagship -->"
NAME = "ensemble"
"""The entry."""
SPENDS = "adapt"
"""What spends more of the judge's time on it."""
PARTS = 6
"""Image n is measured with the others of its part, n modulo this."""
Scores = list[list[float]]
"""PSNR in dB and SSIM of every image."""


def main() -> None:
    val, levin = (Path(each).resolve() for each in sys.argv[1:3])
    workspace = Workspace(Path(sys.argv[3] if len(sys.argv) > 3 else "workspace"))
    kept, methods = Kept(workspace), taken(workspace)
    with suppress(KeyboardInterrupt):
        measure(kept, methods, val, protocols(val, levin))
    write(kept, methods)


def measure(
    kept: Kept,
    methods: dict[str, Method],
    val: Path,
    asked: dict[str, Callable[[], Iterator[Case]]],
) -> None:
    """Everything that is not measured yet."""
    for setting in settings():
        for name in STUDIED:
            measured(kept, name, methods[name], described(setting), partial(changed, val, setting))
    for part in range(PARTS):
        for column, cases in asked.items():
            for name, method in methods.items():
                measured(kept, name, method, column, cases, [part])


STUDIED = ("tv", "pnp", NAME)
"""What is measured where one thing is changed."""


def taken(workspace: Workspace) -> dict[str, Method]:
    """The entry, the network that it averages, what adapts it, and what stands beside them."""
    run = layout.run(workspace, "shakes", "tv-levels")
    if not run.weights.exists():
        raise UserError.of(run.path, "is no run", "run `python -m benchmarks.course.tuesday` first")
    packed = layout.baselines()
    entry = load(packed[NAME]).eval()
    others = {name: load(packed[name]).eval() for name in ("pnp", "unrolled")}
    others[SPENDS] = Adapt(of=load(packed[NAME])).eval()
    return {"tv": load(run.path).eval(), NAME: entry, "alone": entry.of, **others}


def measured(
    kept: Kept,
    name: str,
    method: Method,
    column: str,
    made: Callable[[], Iterator[Case]],
    parts: Sequence[int] = range(PARTS),
) -> None:
    """Measure the images of these parts, where they are not yet."""
    for part in parts:
        found = kept.kept(
            f"flagship {name}", method, f"{column} {part}", partial(scores, method, made, part)
        )
        print(name, column, part, found, flush=True)


def known(kept: Kept, methods: dict[str, Method], column: str) -> dict[str, Scores]:
    """PSNR and SSIM of the images that all of these methods have; no image where one refuses."""
    files = {
        name: [kept.file(f"flagship {name}", method, f"{column} {part}") for part in range(PARTS)]
        for name, method in methods.items()
    }
    there = [all(file.exists() for file in parts) for parts in zip(*files.values(), strict=True)]
    return {
        name: [
            each
            for file, known in zip(parts, there, strict=True)
            if known
            for each in json.loads(file.read_text())
        ]
        for name, parts in files.items()
    }


@torch.no_grad()
def scores(method: Method, made: Callable[[], Iterator[Case]], part: int) -> Scores:
    """Of the images of a part, the border left out that the operator sees in part."""
    found = []
    for y, physics, truth in islice(made(), part, None, PARTS):
        try:
            x_hat = method(y, physics)[0].numpy()
        except UserError as refused:
            print(refused, flush=True)
            return []
        border = (truth.shape[-1] - y.shape[-1]) // 2
        seen = np.s_[:, border : truth.shape[1] - border, border : truth.shape[2] - border]
        both: dict[str, Any] = {"estimate": x_hat[seen], "truth": truth[seen]}
        found.append([psnr(**both), ssim(**both)])
    return found


def write(kept: Kept, methods: dict[str, Method]) -> None:
    """The tables and the plots of what was measured."""
    flagship_pictures.draw(
        *(
            {
                setting.label: {
                    name: float(found.mean())
                    for name, found in levels(kept, methods, setting).items()
                }
                for setting in settings()
                if setting.axis == axis
            }
            for axis in ("kernel, pixels", "sigma")
        ),
        known(kept, {name: methods[name] for name in ("tv", NAME)}, next(iter(ASKED))),
        allowance.known(kept, allowance.taken()),
    )
    tables = (asked(kept, methods), adapted(kept, methods), changes(kept, methods))
    pages.put(PAGE, BEGIN, END, "\n\n".join(filter(None, tables)))


def levels(
    kept: Kept, methods: dict[str, Method], setting: Setting
) -> dict[str, NDArray[np.float64]]:
    """PSNR in dB of every image, of the methods that have all of them."""
    column, found = described(setting), dict[str, NDArray[np.float64]]()
    for name in STUDIED:
        label, method = f"flagship {name}", methods[name]
        if all(kept.file(label, method, f"{column} {part}").exists() for part in range(PARTS)):
            scores = known(kept, {name: method}, column)[name]
            if scores:
                found[name] = np.array(scores)[:, 0]
    return found


def asked(kept: Kept, methods: dict[str, Method]) -> str:
    """The table of the protocols."""
    methods = {name: method for name, method in methods.items() if name != SPENDS}
    lines = [
        "| protocol | images | " + " | ".join(f"`{name}`" for name in methods) + " | over `tv` | "
        "over `alone`, worst image | asked |",
        "|---|---|" + "---|" * (len(methods) + 3),
    ]
    for column, number in ASKED.items():
        some = {name: methods[name] for name in ("tv", NAME, "alone")}
        found = known(kept, some, column) | {
            name: each for name, each in known(kept, methods, column).items() if name not in some
        }
        count = len(found[NAME])
        if not count:
            continue
        cells = [
            f"{np.mean(found[name], axis=0)[0]:.2f} / {np.mean(found[name], axis=0)[1]:.4f}"
            if len(found[name]) == count
            else ""
            for name in methods
        ]
        entry, tv, alone = (np.array(found[name])[:, 0] for name in (NAME, "tv", "alone"))
        cells += [
            f"{(entry - tv).mean():+.2f}",
            f"{(entry - alone).mean():+.3f}, {(entry - alone).min():+.3f}",
            number,
        ]
        lines.append(f"| {column} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + (
        f"\n\nPSNR (dB) / SSIM of photographs of val (centre, {SIDE}x{SIDE}), circular, colour. "
        "`tv`: coupled, weights tuned; `alone`: the network that `ensemble` averages."
    )


def adapted(kept: Kept, methods: dict[str, Method]) -> str:
    """What adapting to every measurement adds, on the images of the protocols that have it."""
    lines = [
        f"| protocol | images | `{NAME}` | `{SPENDS}` | gain, worst image | changed | lost more | "
        "over `tv` | asked |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for column, number in ASKED.items():
        found = known(kept, {name: methods[name] for name in ("tv", NAME, SPENDS)}, column)
        tv, entry, adapting = (np.array(each) for each in found.values())
        if not len(entry):
            continue
        gain = (adapting - entry)[:, 0]
        means = [f"{each[0]:.2f} / {each[1]:.4f}" for each in (entry.mean(0), adapting.mean(0))]
        cells = [str(len(gain)), *means, f"{gain.mean():+.3f}, {gain.min():+.3f}"]
        cells += [str((gain != 0).sum()), str((gain < -allowance.WORST).sum())]
        cells += [f"{(adapting - tv)[:, 0].mean():+.2f}", number]
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    if len(lines) == 2:
        return ""
    steps = int(methods[SPENDS].steps_found)
    return "\n".join(lines) + (
        f"\n\nThe same, `{SPENDS}` of `{NAME}` beside it, at most {steps} steps an image, on the "
        f"photographs on which it was measured; images that it changed, and those that lost more "
        f"than {allowance.WORST:g} dB."
    )


def changes(kept: Kept, methods: dict[str, Method]) -> str:
    """The table of one thing changed at a time."""
    lines = [
        f"| changed | to | `tv` | `pnp` | `{NAME}` | over `tv` | worst image | over `pnp` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting in settings():
        taking = levels(kept, methods, setting)
        cells = [f"{taking[name].mean():.2f}" if name in taking else "" for name in STUDIED]
        cells += ["", "", ""]
        if NAME in taking and "tv" in taking:
            gain = taking[NAME] - taking["tv"]
            cells[3:5] = [f"{gain.mean():+.2f}", f"{gain.min():+.2f}"]
        if NAME in taking and "pnp" in taking:
            cells[5] = f"{(taking[NAME] - taking['pnp']).mean():+.2f}"
        lines.append(f"| {setting.axis} | {setting.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + (
        f"\n\nPSNR (dB) of {len(range(0, 41, EVERY))} photographs of val (centre, {CROP}x{CROP}), "
        f"each with a camera shake of its own that no training saw: {SIZE} pixels, sigma "
        f"{SIGMA:g}, circular, colour, but for what is changed. `valid`: of the pixels that the "
        "kernel reaches from all sides. Told wrongly: of the kernel or noise level that a method "
        "is told, not of the measurement; a kernel a pixel wider is the mean of itself and of "
        "itself moved by one pixel, which makes its lines wider. Empty: not taken, or not measured."
    )


if __name__ == "__main__":
    main()
