"""The network of the best entry, trained from photographs; made for a GPU, and one command.

    python -m benchmarks.course.flagship_training TRAIN LEVIN [WORKSPACE]

TRAIN is a folder of photographs, LEVIN the file of the eight Levin kernels. A wide denoiser learns
from noise alone (`allnoise`: sigma from 0 to 50/255). A network whose four steps begin as that
denoiser, and share its weights, learns from end to end on blurs (`allkernels`): half of the draws
have a Levin kernel, the others a random camera shake of 9 to 51 pixels, sigma 0.01 to 0.1.
`ensemble` takes the mean over the symmetries of the square and becomes `baseline/ensemble`.

A run that exists is gone on with, so that it can be stopped (Ctrl-C) and continued.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.course import baselines, tuesday
from benchmarks.course.readme import challenge
from benchmarks.course.tuesday import DECLARED, learn
from challenge.data.layout import Workspace
from challenge.data.physics import camera_shake
from challenge.submissions import layout

NOISE, BLURS = "allnoise", "allkernels"
SHAKES = {9: 4, 13: 6, 19: 8, 25: 12, 31: 8, 41: 6, 51: 4}
"""Random camera shakes by their size in pixels, as many as Levin kernels with repetition."""
SEED = 2028
"""Of the shakes; `flagship_problems` measures with others."""
DENOISER = (
    *["drunet", "method.width=96", "train.minutes=null", "train.steps=15500"],
    *["train.batch=128", "train.patch=96", "train.evaluate=1000", "train.tune=8", DECLARED],
)
NETWORK = (
    *["unrolled_from_denoiser", "method.tied=true", "train.minutes=null", "train.steps=14500"],
    *["train.batch=32", "train.patch=128", "train.evaluate=1000", "train.tune=8", DECLARED],
)


def main() -> None:
    train, levin = (Path(each).resolve() for each in sys.argv[1:3])
    workspace = Workspace(Path(sys.argv[3] if len(sys.argv) > 3 else "workspace"))
    prepare(workspace, train, levin)
    learn(workspace, NOISE, "drunet-wide", [*DENOISER])
    denoiser = layout.run(workspace, NOISE, "drunet-wide").path
    learn(workspace, BLURS, "unrolled-wide", [*NETWORK, f"method.start={denoiser}"])
    network = layout.run(workspace, BLURS, "unrolled-wide").path
    learn(workspace, BLURS, "ensemble", ["ensemble", f"method.of={network}", DECLARED])
    baselines.package(workspace, [layout.run(workspace, BLURS, "ensemble")])
    baselines.describe()


def prepare(workspace: Workspace, train: Path, levin: Path) -> None:
    """Make both challenges, where they are not there."""
    images = f"images={{source: folder, path: {train}, val: 2, test: 1}}"
    if not workspace.public(NOISE).config.exists():
        option = ["--workspace", str(workspace.path)]
        challenge("prepare", "denoising", f"name={NOISE}", images, *option)
    if not workspace.public(BLURS).config.exists():
        drawn = [
            each
            for size, count in SHAKES.items()
            for each in camera_shake.camera_shake(size, count, SEED)
        ]
        tuesday.with_shakes(workspace, BLURS, levin, drawn, images, "noise.sigma=[0.01, 0.1]")


if __name__ == "__main__":
    main()
