"""A lesion that no training image has: what every method makes of it, and what it sees elsewhere.

    python -m benchmarks.course.medical_lesion [WORKSPACE]

Writes tables and pictures of the finished runs of `benchmarks.course.medical`, whose last step it
is too. A row whose run the workspace does not have stays as it was.

Training images are ellipses. The lesion is a star of a few pixels, c brighter than what lies around
it, at a flat place of a phantom that nothing was trained on:

    radius(phi) = RADIUS (1 + SPIKES cos(ARMS phi + turn)) pixels

Every method reconstructs the phantom with the lesion and without, from the same noise. With d the
difference of both,

    recovered    <d, lesion> / (c ||lesion||^2)                        1: all of its contrast
    shape        <d, lesion> / (||d|| ||lesion||), within MARGIN of it  1: nothing but its shape
    elsewhere    largest mean error x_hat - x without lesion, over discs of the lesion's area

The last one is in units of the image range: a lesion of a lower contrast looks like what the method
invents. It is that of images without lesions, so that it is about all places.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pages
from benchmarks.course import medical_pictures
from challenge.data import noise
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.images import phantoms
from challenge.data.images.magnitude import magnitude
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.methods.contract import Method
from challenge.methods.generative.diffusion import Diffusion
from challenge.submissions import layout
from challenge.submissions.entries.load import load

Field = NDArray[np.float32]

SEED, PHANTOMS = 2018, 12
"""Of the phantoms, and how many: another seed than any challenge's."""
CONTRASTS = (0.05, 0.1, 0.2, 0.4)
SHOWN = 0.2
"""The contrast of the picture."""
PICTURED = {
    "ct": ("fbp", "tv", "lpd", "pnp", "red", "diffusion"),
    "mri": ("zero_filled", "tv", "network", "unrolled", "pnp", "diffusion"),
}
"""Columns of the picture: more of them could not be told apart."""
RADIUS, SPIKES, ARMS = 3.5, 0.5, 6
POINTS = 5
"""Along a side of a pixel, of which the lesion's edge has the mean."""
MARGIN = 8
"""Pixels on every side of the lesion's centre in which its shape is looked at."""
LEVELS = (0.1, 0.55)
"""Of the place where it lies: brighter by the largest contrast, it is still an image."""
BEGIN, END = "<!-- begin: a lesion, {} -->", "<!-- end of the lesion, {} -->"


@dataclass(frozen=True, eq=False)
class Case:
    """A phantom, and its lesion of contrast 1."""

    name: str
    plain: Field
    """(1, H, W), without the lesion, real."""
    lesion: Field
    """(H, W), in [0, 1]."""
    centre: tuple[int, int]
    complex: bool

    def image(self, contrast: float) -> Field:
        """With the lesion, as the challenge has images: (1, H, W), or with a phase (2, H, W)."""
        x = (self.plain + np.float32(contrast) * self.lesion).astype(np.float32)
        if not self.complex:
            return x
        return phantoms.with_phase(noise.generator(SEED, self.name, "phase"), x)


class Found(NamedTuple):
    """Of one method, phantom and contrast."""

    recovered: float
    shape: float


def cases(size: int, mode: str) -> list[Case]:
    """The phantoms, each with a lesion where it is flattest."""
    found, number = [], 0
    while len(found) < PHANTOMS:
        generator = noise.generator(SEED, "lesion", str(number))
        plain = phantoms.draw(generator, size)
        centre = _flattest(plain[0])
        if centre is not None:
            star = _star(size, centre, 2 * np.pi * generator.random())
            found.append(Case(f"lesion-{number}", plain, star, centre, mode == "complex"))
        number += 1
    return found


def _flattest(x: Field) -> tuple[int, int] | None:
    """The centre of the flattest square, of a value within LEVELS; None where none is flat."""
    from scipy.ndimage import uniform_filter

    side, size = 2 * MARGIN + 1, len(x)
    mean = uniform_filter(x, side, mode="nearest")
    spread = uniform_filter(x * x, side, mode="nearest") - mean**2
    inside = np.zeros_like(x, bool)
    inside[size // 4 : -size // 4, size // 4 : -size // 4] = True
    spread[~inside | (mean < LEVELS[0]) | (mean > LEVELS[1])] = np.inf
    row, column = np.unravel_index(spread.argmin(), spread.shape)
    return (int(row), int(column)) if spread[row, column] < 1e-3 else None


def _star(size: int, centre: tuple[int, int], turn: float) -> Field:
    places = (np.arange(size * POINTS) + 0.5) / POINTS - 0.5
    v, u = places[:, None] - centre[0], places[None] - centre[1]
    radius = RADIUS * (1 + SPIKES * np.cos(ARMS * np.arctan2(v, u) + turn))
    fine = (np.hypot(u, v) <= radius).astype(np.float32)
    return fine.reshape(size, POINTS, size, POINTS).mean((1, 3))


class Reconstructions:
    """What a method makes of a case, at any contrast, from the noise of that case."""

    def __init__(self, method: Method, challenge: Challenge) -> None:
        self.method, self.problem = method, challenge.problem
        self.of = cache(self._of)

    @torch.no_grad()
    def _of(self, case: Case, contrast: float) -> Field:
        truth = case.image(contrast)
        y, physics = tensors(self.problem.measure_stored(truth, case.name, b"lesion"))
        return _seen(self.method(y, physics)[0].numpy())

    def change(self, case: Case, contrast: float) -> Field:
        """d, shape (H, W)."""
        return self.of(case, contrast) - self.of(case, 0.0)


def _seen(x: Field) -> Field:
    """As it is shown: the magnitude in [0, 1], shape (H, W)."""
    shown: Field = magnitude(x)[0].clip(0, 1)
    return shown


def measure(case: Case, change: Field, contrast: float) -> Found:
    """How much of a lesion a method shows, and whether it has its shape."""
    recovered = (change * case.lesion).sum() / (contrast * np.square(case.lesion).sum())
    row, column = case.centre
    around = slice(row - MARGIN, row + MARGIN + 1), slice(column - MARGIN, column + MARGIN + 1)
    d, lesion = change[around], case.lesion[around]
    lengths = float(np.linalg.norm(d) * np.linalg.norm(lesion))
    return Found(float(recovered), float((d * lesion).sum() / lengths) if lengths else 0.0)


def elsewhere(case: Case, estimate: Field) -> float:
    """The largest mean error over a disc of the lesion's area, in an image without lesion."""
    from scipy.signal import fftconvolve

    radius = np.sqrt(case.lesion.sum() / np.pi)
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(rows, columns) <= radius).astype(np.float64)
    error = fftconvolve(estimate - case.plain[0], disc / disc.sum(), mode="valid")
    return float(np.abs(error).max())


def write(docs: Path, made: Mapping[str, Mapping[str, layout.Run | None]]) -> None:
    """Write tables and pictures of every challenge's finished runs into the docs.

    A run that is None is not at hand: its row stays as the page has it, if it has one, and so does
    the picture of a challenge that lacks one of `PICTURED`.
    """
    page = docs / "medical.md"
    for name, runs in made.items():
        at_hand = {run.removeprefix(f"{name}-"): each for run, each in runs.items()}
        folders = [run.path for run in at_hand.values() if run is not None]
        if not folders:
            continue
        challenge = open_challenge(folders[0].parents[2] / "public" / name)
        at = cases(challenge.config.images.size, challenge.config.images.mode)
        methods = {each: load(run.path) for each, run in at_hand.items() if run is not None}
        found = {each: Reconstructions(method, challenge) for each, method in methods.items()}
        rows = _rows(page, name) | {each: row(of, at) for each, of in found.items()}
        blocks = [table(name, {each: rows[each] for each in at_hand if each in rows}, at)]
        lesion = docs / f"medical-lesion-{name}.png"
        if found.keys() >= set(PICTURED[name]):
            shown = {each: found[each] for each in PICTURED[name]}
            medical_pictures.lesion(at[0], shown, SHOWN, lesion)
        deviation = docs / f"medical-deviation-{name}.png"
        if isinstance(method := methods.get("diffusion"), Diffusion):
            medical_pictures.deviation(challenge, method, at[0], SHOWN, deviation)
        words = {
            lesion: f"a lesion of contrast {SHOWN:g}, in a phantom and in detail, by method",
            deviation: "a draw of the posterior, the mean of several, their standard deviation, "
            "and the error of the mean",
        }
        blocks += [f"![{words[path]}]({path.name})" for path in words if path.exists()]
        pages.put(page, BEGIN.format(name), END.format(name), "\n\n".join(blocks))


def _rows(page: Path, name: str) -> dict[str, str]:
    """The cells of a challenge's table as the page has it, by method.

    None of a table of other contrasts, whose columns are not those of today.
    """
    _, _, block = page.read_text().partition(BEGIN.format(name))
    block, _, _ = block.partition(END.format(name))
    if _heading(name) not in block:
        return {}
    lines = (re.fullmatch(r"\| `([^`]+)` \| (.+) \|", line) for line in block.splitlines()[3:])
    return {found[1]: found[2] for found in lines if found}


def _heading(name: str) -> str:
    return (
        f"| `{name}` | contrast recovered at {' | '.join(f'{c:g}' for c in CONTRASTS)} | shape at "
        f"{SHOWN:g} | elsewhere |"
    )


def row(made: Reconstructions, at: list[Case]) -> str:
    """The cells of a method: means over the phantoms."""
    cells = []
    for contrast in CONTRASTS:
        each = [measure(case, made.change(case, contrast), contrast) for case in at]
        mean, spread = (f(each, axis=0) for f in (np.mean, np.std))
        cells.append(f"{mean[0]:.2f} ± {spread[0]:.2f}")
        if contrast == SHOWN:
            shape = f"{mean[1]:.2f}"
    false = np.mean([elsewhere(case, made.of(case, 0.0)) for case in at])
    return " | ".join([*cells, shape, f"{false:.3f}"])


def table(name: str, rows: Mapping[str, str], at: list[Case]) -> str:
    """A line each method, with the cells that `row` makes."""
    lines = [
        _heading(name),
        "|---" * (len(CONTRASTS) + 3) + "|",
        *(f"| `{method}` | {cells} |" for method, cells in rows.items()),
    ]
    area = np.mean([case.lesion.sum() for case in at])
    return "\n".join(lines) + (
        f"\n\n{len(at)} phantoms, each with a star of {area:.0f} pixels at its flattest place; "
        "mean and standard deviation over them. Contrasts are in units of the image range."
    )


if __name__ == "__main__":
    from benchmarks.course import medical

    workspace = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    made = medical.at_hand(workspace)
    if not any(run for runs in made.values() for run in runs.values()):
        sys.exit(f"{workspace.path}: has no finished run of {' or '.join(made)}")
    write(medical.DOCS, made)
