"""On what the best entry is measured: problems of protocols, and one thing changed at a time.

Levin et al. 2009 (kernels); every image has a kernel and noise of its own, which do not depend on
the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.course.tuesday import LEVELS, Case
from challenge.data.images import codec, colour
from challenge.data.images.codec import to_unit
from challenge.data.physics import camera_shake, kernel_files, kernels
from challenge.data.physics.problem import Problem, tensors

SIDE, CROP = 256, 128
"""Pixels of a side of the photographs in the protocols, and where one thing is changed."""
EVERY = 10
"""Of the photographs, one in so many where one thing is changed."""
SIZE, SIGMA = 25, 0.03
"""Kernel and noise where something else is changed."""
SIZES = (5, 9, 15, 25, 35, 51)
SIGMAS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
Boundary = Literal["circular", "valid", "reflect"]
Kernels = NDArray[np.float32]

ASKED = {
    "first Levin kernel, 0.03": "3.7 over `tv`",
    f"Levin, {255 * LEVELS[0]:.2f}/255": "29.6",
    f"Levin, {255 * LEVELS[1]:.2f}/255": "28.4",
}


class Setting(NamedTuple):
    """A problem, and what a method is told of it."""

    axis: str
    label: str
    kernels: Kernels
    """(N, k, k): image n has kernel n."""
    sigma: float = SIGMA
    boundary: Boundary = "circular"
    channels: int = 3
    told: Kernels | None = None
    """The kernels that a method is told; None: the right ones."""
    told_sigma: float = 1.0
    """The noise level that it is told, over the right one."""


def protocols(val: Path, levin: Path) -> dict[str, Callable[[], Iterator[Case]]]:
    """Problems for which numbers are asked, by what their rows are called."""
    stack = kernels.normalised_stack(kernel_files.read(levin), str(levin), lambda words: None)
    problems = [Setting("", "", stack[:1]), *(Setting("", "", stack, sigma) for sigma in LEVELS)]
    images = pictures(val, SIDE, 1)
    return {
        name: partial(cases, images, problem) for name, problem in zip(ASKED, problems, strict=True)
    }


@cache
def pictures(val: Path, side: int, every: int) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    """Centre crops (3, side, side) of one photograph in so many, in [0, 1], with their names."""
    found = []
    for path in sorted(val.rglob("*.png"))[::every]:
        found.append((path.stem, to_unit(codec.centre(codec.photograph(path), side, side))))
    return tuple(found)


def cases(images: Sequence[tuple[str, NDArray[np.float32]]], setting: Setting) -> Iterator[Case]:
    """Every image with its kernel and noise; the operator says what a method is told."""
    for index, (identity, picture) in enumerate(images):
        turn = index % len(setting.kernels)
        truth = picture
        if setting.channels == 1:
            truth = np.tensordot(np.float32(colour.LUMA), picture, 1)[None]
        problem = Problem.of_kernels(
            setting.kernels[turn : turn + 1],
            setting.sigma,
            boundary=setting.boundary,
            channels=setting.channels,
        )
        measured = problem.measure_stored(truth, identity, b"flagship", turn)
        told = {} if setting.told is None else {"kernel": setting.told[turn]}
        measured = dataclasses.replace(
            measured,
            operator={**measured.operator, **told},
            noise={**measured.noise, "sigma": np.float32(setting.told_sigma * setting.sigma)},
        )
        yield Case(*tensors(measured), truth)


def changed(val: Path, setting: Setting) -> Iterator[Case]:
    return cases(pictures(val, CROP, EVERY), setting)


def settings() -> list[Setting]:
    """One thing changed at a time, about a shake of 25 pixels, sigma 0.03, circular, colour."""
    usual = shakes(SIZE)
    found = [Setting("kernel, pixels", str(size), shakes(size)) for size in SIZES]
    found += [Setting("sigma", f"{sigma:g}", usual, sigma) for sigma in SIGMAS if sigma != SIGMA]
    found += [
        Setting("boundary", "valid", usual, boundary="valid"),
        Setting("boundary", "reflect", usual, boundary="reflect"),
        Setting("colours", "grey", usual, channels=1),
        Setting("told wrongly", "kernel moved by a pixel", usual, told=np.roll(usual, 1, -1)),
        Setting("told wrongly", "kernel a pixel wider", usual, told=wider(usual)),
        Setting("told wrongly", "sigma 20 % too low", usual, told_sigma=0.8),
        Setting("told wrongly", "sigma 20 % too high", usual, told_sigma=1.2),
    ]
    return found


@cache
def shakes(size: int) -> Kernels:
    """Camera shakes that no training saw, (8, size, size)."""
    return np.float32(camera_shake.camera_shake(size, 8, 2027))


def wider(stack: Kernels) -> Kernels:
    """Kernels whose every line is a pixel wider: the mean of a kernel and itself moved by one."""
    return (stack + np.roll(stack, 1, -1)) / 2


def described(setting: Setting) -> str:
    return f"changed {setting.axis} {setting.label}"
