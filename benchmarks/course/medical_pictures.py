"""The pictures of `docs/medical.md`: every one says its window, what is black and what is white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from challenge.data.images.codec import stored, to_unit
from challenge.data.images.magnitude import magnitude
from challenge.data.layout import Hidden
from challenge.data.physics.measurements import read
from challenge.data.physics.problem import tensors
from challenge.submissions.scoring.metrics import psnr

if TYPE_CHECKING:
    from benchmarks.course.medical_lesion import Case, Reconstructions
    from challenge.data.challenges.challenge import Challenge
    from challenge.methods.generative.diffusion import Diffusion
    from challenge.submissions.judging.result import Result

Field = NDArray[np.float32]
Shown = tuple[str, Field]
"""A caption and a picture (H, W)."""
ERRORS = (-0.2, 0.2)
"""The window of errors: grey is none."""
NARROW = 0.2
"""Half of the window about the place of a lesion."""
ACROSS = 16
"""Half of the side of a detail, in pixels."""


def draw(hidden: Hidden, results: Mapping[str, Result], path: Path) -> None:
    """The hidden image at the median of total variation: reconstructions, and their errors."""
    if not results:
        return
    ranked = results["tv" if "tv" in results else next(iter(results))]
    scored = sorted(ranked.images, key=lambda each: each.psnr or 0)
    identity = scored[len(scored) // 2].id
    truth = to_unit(stored(hidden.image(identity)))
    found = {"measured": read(hidden.measurement(identity)).picture}
    for run, result in results.items():
        name = run.removeprefix(f"{hidden.path.name}-")
        found[name] = np.load(hidden.judged(result.entry.label) / f"{identity}.npy")
    if {"fbp", "zero_filled"} & set(found):
        del found["measured"]  # it is the same picture
    beside(found, truth, (0.0, 1.0), "0 to 1", path)


def beside(
    found: Mapping[str, Field],
    truth: Field,
    window: tuple[float, float],
    words: str,
    path: Path,
) -> None:
    """Reconstructions (C, H, W) of an image, the truth, and their errors.

    Args:
        found: by name.
        truth: of the image.
        window: what is black and what is white, in units of the image range.
        words: the window in its unit.
        path: of the picture.
    """
    level = {name: psnr(estimate=x, truth=truth) for name, x in found.items()}
    images = [(f"{name}\n{level[name]:.2f} dB", _seen(x)) for name, x in found.items()]
    exact = _seen(truth)
    errors = [("", _seen(x) - exact) for x in found.values()]
    _page(
        [
            (f"window\n{words}", window, [*images, ("truth", exact)]),
            (f"error,\n{ERRORS[0]:g} to {ERRORS[1]:g}", ERRORS, errors),
        ],
        path,
    )


def lesion(case: Case, found: Mapping[str, Reconstructions], contrast: float, path: Path) -> None:
    """A lesion with what is around it, and what it changed, by method."""
    row, column = case.centre
    size = case.plain.shape[1]
    top, left = (min(max(at - ACROSS, 0), size - 2 * ACROSS) for at in (row, column))
    detail = slice(top, top + 2 * ACROSS), slice(left, left + 2 * ACROSS)
    place = float(case.plain[0, row, column])
    black = max(place - NARROW, 0.0)
    window, narrow = (-contrast, contrast), (black, black + 2 * NARROW)
    whole = [(method, made.of(case, contrast)) for method, made in found.items()]
    changed = [("", made.change(case, contrast)) for made in found.values()]
    truth = _seen(case.image(contrast))
    star = contrast * case.lesion
    _page(
        [
            ("window\n0 to 1", (0.0, 1.0), [*whole, ("truth", truth)]),
            (
                f"detail,\n{narrow[0]:.2f} to {narrow[1]:.2f}",
                narrow,
                [("", x[detail]) for _, x in [*whole, ("", truth)]],
            ),
            (
                f"with less without,\n{window[0]:g} to {window[1]:g}",
                window,
                [("", x[detail]) for _, x in [*changed, ("", star)]],
            ),
        ],
        path,
    )


def deviation(
    challenge: Challenge, method: Diffusion, case: Case, contrast: float, path: Path
) -> None:
    """Mean and standard deviation of draws, and the error that the deviation speaks of."""
    truth = case.image(contrast)
    y, physics = tensors(challenge.problem.measure_stored(truth, case.name, b"lesion"))
    with torch.no_grad():
        draws = method.samples(y, physics)
    mean = draws.mean(0)[0].numpy()
    spread = (draws.std(0)[0] * (1 + 1 / len(draws)) ** 0.5).norm(dim=0).numpy()
    error = np.abs(_seen(mean) - _seen(truth))
    white = max(float(np.quantile(spread, 0.995)), 1e-6)
    _page(
        [
            (
                "window\n0 to 1",
                (0.0, 1.0),
                [
                    ("one draw", _seen(draws[0][0].numpy())),
                    (f"mean of {len(draws)}", _seen(mean)),
                    ("truth", _seen(truth)),
                ],
            ),
            (
                f"window\n0 to {white:.2f}",
                (0.0, white),
                [("standard deviation", spread), ("|error| of the mean", error)],
            ),
        ],
        path,
    )


def _seen(x: Field) -> Field:
    shown: Field = magnitude(x)[0].clip(0, 1)
    return shown


def _page(rows: Sequence[tuple[str, tuple[float, float], Sequence[Shown]]], path: Path) -> None:
    """Rows of grey pictures, each with its window on the left."""
    from matplotlib.figure import Figure

    across = max(len(row) for _, _, row in rows)
    figure = Figure(figsize=(1.25 * across + 0.3, 1.5 * len(rows) + 0.2), layout="constrained")
    grid = figure.subplots(len(rows), across, squeeze=False)
    for line, (words, window, row) in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, (caption, x) in zip(line, row, strict=False):
            axes.imshow(x, cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest")
            axes.set_title(caption, fontsize=7)
        line[0].text(-0.06, 0.5, words, fontsize=6, rotation=90, va="center", ha="right",
                     transform=line[0].transAxes)  # fmt: skip
    figure.savefig(path, dpi=150)
