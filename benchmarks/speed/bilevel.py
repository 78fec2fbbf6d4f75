"""The weight of Huber's regulariser found by its hypergradient, beside a grid of weights.

    python -m benchmarks bilevel [--quick]

Two photographs of scikit-image (centre, 3x256x256) under the kernel of `deblur`, sigma 0.03. The
grid has 40 weights from a tenth to ten times the weight at which the search starts, 12 % apart.
Both solve the lower level to the same tolerance, and both start it warm: the grid at the solution
of the weight before, the search at that of its evaluation before. The PSNR of both weights is that
of cold starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import skimage.data
import torch
from torch import Tensor

from benchmarks.speed.timing import Result, seconds
from challenge.configs.loader import load_challenge
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.kernels import build
from challenge.data.physics.problem import Problem
from challenge.methods.contract_test import ToySession
from challenge.methods.training.patches import Batch, tune_batch
from challenge.methods.variational.bilevel import HUBER_START, Bilevel

WEIGHTS = 40
SIDE = 256
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
"""The search looks at half of them, in a random order."""


def run(quick: bool) -> list[Result]:
    """Two results: the search's time beside the grid's, and the PSNR it falls behind."""
    problem, images = _setting()
    train, session = TrainConfig(tune=len(PHOTOGRAPHS) // 2), ToySession()
    held = split_tune(images, train.tune, session.seed)[1]
    scenes = [tune_batch(held, problem, n, torch.device("cpu")) for n in range(len(held))]
    weights = HUBER_START[0] * np.geomspace(0.1, 10, WEIGHTS // 4 if quick else WEIGHTS)
    levels: list[float] = []
    grid = seconds(lambda: levels.extend(_grid(weights.tolist(), scenes)))
    method = Bilevel(theta="weight")
    search = seconds(lambda: method.fit(problem, images, train, session))
    weight = method.log_weight.exp().item()
    best = float(weights[np.argmax(levels)])
    level, highest = (next(_grid([each], scenes)) for each in (weight, best))
    return [
        Result(
            what=f"`bilevel` weight, search beside a grid of {len(weights)}",
            measured=search / grid,
            target=0.2,
            better="lower",
            unit="x its time",
            detail=f"{len(session.lines)} evaluations in {search:.1f} s, {grid:.1f} s",
        ),
        Result(
            what="`bilevel` weight, PSNR below the best of the grid",
            measured=highest - level,
            target=0.05,
            better="lower",
            unit="dB",
            detail=f"{level:.3f} dB at {weight:.5f}, {highest:.3f} dB at {best:.5f}",
        ),
    ]


def _setting() -> tuple[Problem, Images]:
    config, source = load_challenge("deblur")
    kernels = build(config.operator.kernel, source.path, lambda _: None)
    problem = Problem.of_kernels(kernels, 0.03, key=b"benchmark")
    pictures = {}
    for name in PHOTOGRAPHS:
        picture = getattr(skimage.data, name)()
        top, left = ((side - SIDE) // 2 for side in picture.shape[:2])
        crop = picture[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1).copy()
        pictures[name] = torch.from_numpy(crop).float() / 255
    return problem, Images.of(pictures)


@torch.no_grad()
def _grid(weights: list[float], scenes: list[Batch]) -> Iterator[float]:
    """Mean PSNR in dB at each weight."""
    method = Bilevel(theta="weight").eval()
    solutions: list[Tensor | None] = [None] * len(scenes)
    for weight in weights:
        method.log_weight.fill_(float(np.log(weight)))
        errors = []
        for index, (x, y, physics) in enumerate(scenes):
            solution = method.solve(y, physics, method.tolerance, solutions[index]).x
            solutions[index] = solution
            errors.append((solution - x).square().mean().log10().item())
        yield -10 * float(np.mean(errors))
