"""Tomography and magnetic resonance: trained, packed, judged, written into the docs.

    python -m benchmarks.course.medical [--quick] [--only RUN,RUN] [WORKSPACE]

Prepares `ct` (60 views of phantoms of 128x128 pixels, noise of 5 %, after Adler, Oktem 2018) and
`mri` (a quarter of the columns) as they are packaged, and phantoms with white noise, real and
complex ones, where the denoisers of `pnp`, `red` and `diffusion` learn. Trains, packs `PACKED` into
`submissions/baselines/medicine/`, judges all on the hidden images, and writes the tables of the
README, `docs/performance.md` and `docs/medical.md` and the pictures `docs/medical-*.png`: of
a judged image (`medical_pictures.py`), and of a lesion that no training image has
(`medical_lesion.py`, a command of its own too). `medical_shepp_logan.py` has the test image of
that paper.

A run or a verdict that exists is used again, so it can be stopped and continued; with `--only`,
these runs are trained and no others (`--only ct-lpd,mri-unrolled`; `--only none`: tables and
pictures alone). A method whose run is not finished is left out. With `--quick` trainings have three
steps and images 64x64 pixels, and tables and pictures go into the workspace's folder `docs` alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import pages
from benchmarks.course import baselines, medical_lesion, medical_pictures, medical_shepp_logan
from benchmarks.course.readme import challenge, duration, training
from benchmarks.course.tuesday import DECLARED, finished, learn
from challenge.data.images.codec import stored, to_unit
from challenge.data.layout import Hidden, Workspace
from challenge.data.physics.measurements import read
from challenge.submissions import layout
from challenge.submissions.judging.result import Result
from challenge.submissions.reports.comparison import size_of_weights
from challenge.submissions.scoring.metrics import nmse, psnr, ssim

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
FOLDER = baselines.FOLDER / "medicine"
BEGIN, END = "<!-- begin: python -m benchmarks.course.medical -->", "<!-- end of medical -->"
"""In `docs/performance.md`, and of the short table in the README."""
TEAM = "medicine"
NOISES = {"phantomnoise": "grey", "phasenoise": "complex"}
"""Challenges of phantoms with white noise, and the mode of their images."""

WHOLE = ["train.batch=1", "train.patch=128", "train.lr=0.001", "train.evaluate=400"]
"""An operator sees an image as a whole; one has as many pixels as a batch of patches."""
NET = "method.net.width=24"


def _trained(config: str, steps: int, *settings: str) -> list[str]:
    budget = [f"train.steps={steps}", "train.minutes=null", "train.tune=8", DECLARED]
    return [config, *budget, *settings]


TV = ["tv", "method.weight=null", "train.tune=8"]
DENOISER = "drunet"
"""The run of `NOISES` whose path is filled in, where a setting names the challenge."""


def _plugged(noise: str, pnp: list[str], red: list[str]) -> dict[str, list[str]]:
    plug = [f"method.denoiser={noise}", DECLARED]
    sampled = ["method.guidance=pigdm", "method.draws=8", "method.steps=10"]
    return {
        "pnp": ["pnp", *pnp, *plug],
        "red": ["red", "method.strength=null", "train.tune=8", *red, *plug],
        "diffusion": ["diffusion", *sampled, *plug],
    }


CNN = "method.net={architecture: cnn, width: 32, depth: 2}"
PUBLISHED = [CNN, "method.dual_width=32", "method.dual_depth=2", "method.groups=5",
             "method.steps=10", "method.preconditioned=false"]  # fmt: skip
"""Learned Primal-Dual in the sizes of Adler, Oktem 2018: 10 steps through A^T, of networks of three
layers."""
RUNS: dict[str, dict[str, list[str]]] = {
    **{noise: {DENOISER: _trained("drunet", 8000, "method.width=24")} for noise in NOISES},
    "ct": {
        "fbp": ["fbp"],
        "fbp-hann": ["fbp", "method.window=hann"],
        "tv": TV,
        "ct-network": _trained("network", 12000, NET, *WHOLE),
        "ct-lpd": _trained("lpd", 16000, *WHOLE, *PUBLISHED),
        "ct-unrolled": _trained("unrolled", 4000, NET, *WHOLE, "method.algorithm=pgd"),
        # At twice this rate there was no fixed point after 1,450 steps.
        "ct-deq": _trained("deq", 1500, NET, *WHOLE, "method.algorithm=pgd", "train.lr=0.0005"),
        "ct-neural_ode": _trained("neural_ode", 1500, NET, *WHOLE, "method.algorithm=pgd"),
        **_plugged("phantomnoise", ["method.iterations=16"], []),
    },
    "mri": {
        "zero_filled": ["zero_filled"],
        "tv": TV,
        "mri-network": _trained("network", 12000, NET, *WHOLE),
        "mri-lpd": _trained("lpd", 4000, NET, *WHOLE, "method.steps=5"),
        "mri-unrolled": _trained("unrolled", 5000, NET, *WHOLE),
        "mri-deq": _trained("deq", 5000, NET, *WHOLE),
        "mri-neural_ode": _trained("neural_ode", 4000, NET, *WHOLE),
        **_plugged(
            "phasenoise",
            ["method.algorithm=admm", "method.iterations=32"],
            ["method.iterations=40"],
        ),
    },
}
"""Of every challenge, what is trained there, with how many steps."""
PACKED = ("ct-lpd", "mri-unrolled")
"""Baselines of the toolkit: all together may hold 60 MB."""
QUICK = {
    "prepare": ["images.size=64", "images.train=12", "images.val=2", "images.test=3"],
    "train": ["train.minutes=null", "train.steps=3", "train.batch=1", "train.patch=64",
              "train.tune=2", "train.evaluate=3"],
    "tv": ["train.tune=2"],
    "diffusion": ["method.draws=2", "method.steps=2"],
}  # fmt: skip
"""What makes a trial short, by command and config."""
UNSETTLED = 30
"""Seconds of training below which `trained` is not worth a cell."""


class Row(NamedTuple):
    """A judged run."""

    run: layout.Run
    entry: Path
    result: Result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.course.medical")
    parser.add_argument("workspace", nargs="?", default="workspace", type=Path)
    parser.add_argument("--quick", action="store_true", help="a trial; nothing in docs changes")
    parser.add_argument("--only", help="the runs that are trained, separated by commas")
    arguments = parser.parse_args()
    only = None if arguments.only is None else arguments.only.split(",")
    workspace, docs, readme = Workspace(arguments.workspace), DOCS, README
    if arguments.quick:
        docs = workspace.path / "docs"
        readme = docs / README.name
        docs.mkdir(parents=True, exist_ok=True)
        for page in (DOCS / "performance.md", DOCS / "medical.md", README):
            shutil.copyfile(page, docs / page.name)
    for name, runs in RUNS.items():
        prepare(workspace, name, arguments.quick)
        for run, settings in runs.items():
            if only is not None and run not in only:
                continue
            learn(workspace, name, run, _filled(workspace, settings, arguments.quick))
    if not arguments.quick:
        made = [layout.run(workspace, name, run) for name in RUNS for run in RUNS[name]]
        packed = [run for run in made if run.path.name in PACKED and finished(run)]
        baselines.package(workspace, packed, FOLDER)
        baselines.describe()
    blocks, judged = [], {name: judge(workspace, name) for name in RUNS if name not in NOISES}
    judged = {name: rows for name, rows in judged.items() if rows}
    for name, rows in judged.items():
        hidden, path = workspace.hidden(name), docs / f"medical-{name}.png"
        results = {run: row.result for run, row in rows.items()}
        medical_pictures.draw(hidden, results, path)
        words = f"a hidden image of {name}, its reconstructions and their errors, by method"
        blocks += [table(hidden, rows), f"![{words}]({path.name})"]
        if name == "ct":
            runs = {run: row.run for run, row in rows.items()}
            blocks.append(medical_shepp_logan.table(workspace, runs))
    pages.put(docs / "performance.md", BEGIN, END, "\n\n".join(blocks))
    pages.put(readme, BEGIN, END, summary(judged))
    medical_lesion.write(docs, at_hand(workspace))


def at_hand(workspace: Workspace) -> dict[str, dict[str, layout.Run | None]]:
    """The runs of both challenges, None for one that is not finished."""
    names = [name for name in RUNS if name not in NOISES]
    made = {name: {run: layout.run(workspace, name, run) for run in RUNS[name]} for name in names}
    return {
        name: {run: each if finished(each) else None for run, each in runs.items()}
        for name, runs in made.items()
    }


def prepare(workspace: Workspace, name: str, quick: bool = False) -> None:
    """Make a challenge, where it is not there."""
    if workspace.public(name).config.exists():
        return
    settings = [name]
    if name in NOISES:
        images = (
            f"images={{source: phantoms, mode: {NOISES[name]}, size: 128, train: 1000, val: 10, "
            "test: 1}"
        )
        settings = ["denoising", f"name={name}", images]
    small = QUICK["prepare"] if quick else []
    challenge("prepare", *settings, *small, "--workspace", str(workspace.path))


def _filled(workspace: Workspace, settings: list[str], quick: bool) -> list[str]:
    """Settings with the path of the denoiser; of a trial, with those that make it short."""
    config, found = settings[0], []
    for each in settings:
        knob, _, value = each.partition("=")
        path = layout.run(workspace, value, DENOISER).path if value in NOISES else value
        found.append(f"{knob}={path}" if path else each)
    if quick:
        trained = any(each.startswith("train.minutes") for each in settings)
        found += QUICK["train"] if trained else QUICK.get(config, [])
    return found


def judge(workspace: Workspace, name: str) -> dict[str, Row]:
    """Pack what is finished, and judge it on the hidden images: rows in the order of `RUNS`."""
    made = [layout.run(workspace, name, run) for run in RUNS[name]]
    made = [run for run in made if finished(run)]
    if not made:
        return {}
    entries = []
    for run in made:
        # Two challenges of one team: an entry's file is named by team and run.
        challenge("pack", str(run.path), "--team", f"{TEAM}-{name}")
        entries.append(layout.entry(workspace, f"{TEAM}-{name}", run.path.name))
    hidden = str(workspace.hidden(name).path)
    said = challenge("score", *map(str, entries), "--hidden", hidden, "--json")
    found = {}
    for run, entry, each in zip(made, entries, json.loads(said), strict=True):
        result = Result.model_validate(each)
        if result.psnr is None:
            print(f"left out: {entry.name}: {result.outcome}, {result.cause}", file=sys.stderr)
        else:
            found[run.path.name] = Row(run, entry, result)
    return found


def table(hidden: Hidden, rows: dict[str, Row]) -> str:
    """A challenge's table: the picture of the measurement first, then in the order of `RUNS`."""
    name = hidden.path.name
    lines = [
        f"| `{name}` | PSNR (dB) | over TV | SSIM | NMSE | seconds an image | MB | parameters | "
        "trained |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    tv = rows["tv"].result.psnr if "tv" in rows else None
    base = tv.mean if tv else None
    level, similarity, error, count = _measured(hidden)
    lines.append(f"| measured | {level:.2f} | {_over(level, base)} | {similarity:.3f} | "
                 f"{error:.4f} | | | | |")  # fmt: skip
    for run, row in rows.items():
        result = row.result
        assert result.psnr and result.ssim and result.nmse, result.cause
        size, parameters = size_of_weights(row.entry)
        facts = training(row.entry)
        how = duration(facts["seconds"]) if facts["seconds"] > UNSETTLED else ""
        seconds = np.mean([each.seconds for each in result.images])
        mean, low, high = result.psnr.mean, result.psnr.low, result.psnr.high
        # Few images have no interval.
        within = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
        lines.append(
            f"| `{run.removeprefix(f'{name}-')}` | {mean:.2f}{within} | "
            f"{_over(mean, base)} | {result.ssim.mean:.3f} | {result.nmse.mean:.4f} | "
            f"{seconds:.2f} | {size / 1e6:.2f} | {parameters:,} | {how} |"
        )
    shares = [
        f"of `{run}` {right.one:.3f} and {right.two:.3f}"
        for run, row in rows.items()
        if (right := row.result.calibration) is not None
    ]
    said = f" Within one and two of the stated deviations: {', '.join(shares)}." if shares else ""
    return "\n".join(lines) + (
        f"\n\nAs judged on the {count} hidden phantoms of `{name}`, with 2 threads; measured: "
        f"{'filtered backprojection' if name == 'ct' else 'zeros for what was not measured'}.{said}"
    )


def summary(judged: dict[str, dict[str, Row]]) -> str:
    """The README's table: PSNR (dB) and, in brackets, what is gained over TV, by method."""
    names = list(judged)
    plain = {
        name: {run.removeprefix(f"{name}-"): row.result.psnr for run, row in rows.items()}
        for name, rows in judged.items()
    }
    lines = ["| method | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for method in dict.fromkeys(run for rows in plain.values() for run in rows):
        cells = []
        for name in names:
            level, tv = plain[name].get(method), plain[name].get("tv")
            over = _over(level.mean, tv.mean) if level and tv else ""
            cells.append(f"{level.mean:.2f} ({over})" if level else "")
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _measured(hidden: Hidden) -> tuple[float, float, float, int]:
    scores = []
    for identity in hidden.ids():
        found, truth = read(hidden.measurement(identity)).picture, hidden.image(identity)
        both = {"estimate": found, "truth": to_unit(stored(truth))}
        scores.append([metric(**both) for metric in (psnr, ssim, nmse)])
    level, similarity, error = np.mean(scores, axis=0).tolist()
    return level, similarity, error, len(scores)


def _over(level: float, base: float | None) -> str:
    return "" if base is None else f"{level - base:+.2f}"


if __name__ == "__main__":
    main()
