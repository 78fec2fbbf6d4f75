"""The plots of `docs/flagship.md`: `python -m benchmarks.course.flagship` draws them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[2] / "docs" / "flagship.png"
COLOURS = {"tv": "tab:gray", "pnp": "tab:blue", "ensemble": "tab:red"}
TRAINED = (0.01, 0.1)
"""Noise levels that the network was trained with."""
Means = dict[str, dict[str, float]]
"""PSNR in dB by setting and method."""


def draw(
    sizes: Means,
    sigmas: Means,
    content: dict[str, list[list[float]]],
    spent: dict[float, list[dict[str, Any]]],
) -> None:
    """Write the picture.

    Args:
        sizes: by the kernel's side in pixels.
        sigmas: by noise level.
        content: PSNR and SSIM of every image, of `tv` and of the entry.
        spent: what `allowance` measured, by noise level.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.8), layout="constrained")
    (by_size, by_sigma), (by_content, by_time) = figure.subplots(2, 2)
    _lines(by_size, sizes, "side of the kernel (pixels)")
    by_size.legend()
    _lines(by_sigma, sigmas, "noise level")
    by_sigma.axvspan(*TRAINED, color="tab:red", alpha=0.1, linewidth=0)
    by_sigma.set_title("shaded: levels seen in training", fontsize="small")
    base, entry = (np.array(each)[:, 0] for each in content.values())
    by_content.plot(base, entry - base, "o", color=COLOURS["ensemble"], markersize=4)
    by_content.set(xlabel="`tv` (dB): busy images left, smooth ones right", ylabel="over `tv` (dB)")
    by_content.set_ylim(bottom=0)
    _allowance(by_time, spent)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=80)


def _lines(axes: Axes, found: Means, words: str) -> None:
    for name, colour in COLOURS.items():
        points = [(float(at), each[name]) for at, each in found.items() if name in each]
        if points:
            axes.plot(*zip(*sorted(points), strict=True), "o-", color=colour, label=name)
    axes.set(xlabel=words, ylabel="PSNR (dB)", xscale="log")
    ticks = sorted(float(each) for each in found)
    axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
    axes.minorticks_off()


def _allowance(axes: Axes, spent: dict[float, list[dict[str, Any]]]) -> None:
    """Mean gain over the network alone against passes of it."""
    for number, (sigma, cases) in enumerate(spent.items()):
        colour = f"C{number}"
        turns = np.array([[row[::2] for row in each["turns"]] for each in cases]).mean(0)
        axes.plot(turns[:, 0], turns[:, 1] - turns[0, 1], "s--", color=colour, markersize=4)
        path = np.array([[row[:3] for row in each["path"]] for each in cases])
        gain = (path[:, :, 2] - path[:, :1, 2]).mean(0)
        # A step is a pass and its way back, twice as long; every look is a pass.
        passes = 2 + 3 * path[0, :, 0] + np.arange(1, len(gain) + 1)
        axes.plot(passes[1:], gain[1:], "o-", color=colour, label=f"sigma {sigma:g}", markersize=4)
    axes.set(xlabel="passes of the network", ylabel="gain (dB)", xscale="log")
    ticks = [1, 2, 4, 8, 16, 32, 64]
    axes.set_xticks(ticks, [str(each) for each in ticks])
    axes.minorticks_off()
    axes.set_title("dashed: `ensemble`; solid: all steps of `adapt`", fontsize="small")
    if spent:
        axes.legend(loc="lower left")
