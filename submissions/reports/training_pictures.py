"""What a training looks like: `curves.png`, `samples.png` and a method's own pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.images.contact_sheet import to_picture
from challenge.data.images.magnitude import magnitude
from challenge.submissions.layout import Run
from challenge.submissions.runs import log
from challenge.submissions.scoring import metrics, pictures
from challenge.submissions.scoring.pictures import Panel

if TYPE_CHECKING:
    from challenge.data.physics.measurements import Measurement
    from challenge.methods.contract import Method

SAMPLES = 4
"""Images of val that are shown."""
GAIN = 5
"""Errors are shown this many times brighter: 0.2 is white."""
PANELS = (
    ("loss", "loss"),
    ("psnr", "PSNR on tune (dB)"),
    ("ssim", "SSIM on tune"),
    ("lr", "learning rate"),
)
TUNE = "tune: training images that are held out of the training, to choose the weights by"
LINES = ("-", "--", "-.", ":")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's colours, which colour-blind readers tell apart."""


def draw(run: Run, method: Method, challenge: Challenge) -> list[Path]:
    """Draw the curves, if there is a curve, samples of val, and what the method has to show.

    Args:
        run: finished, or being trained.
        method: with its weights.
        challenge: whose val images are shown.

    Returns:
        The paths of the pictures.
    """
    made = []
    losses, qualities = (len(log.curve(run, name)[0]) for name in ("loss", "psnr"))
    if losses and max(losses, qualities) > 1:
        curves({run.path.name: run}, run.curves)
        made.append(run.curves)
    samples(method, challenge, run.samples)
    return [*made, run.samples, *_own(method, challenge, run)]


def _own(method: Method, challenge: Challenge, run: Run) -> list[Path]:
    """Draw what the method has to show beside reconstructions; the paths of the pictures."""
    import torch

    method.eval()
    shown = [torch.from_numpy(challenge.truth(each)) for each in challenge.ids("val")[:SAMPLES]]
    made = []
    for name, rows in method.pictures(shown).items():
        panels = [
            [
                Panel(to_picture(image.cpu().numpy(), challenge.window), caption)
                for caption, image in row
            ]
            for row in rows
        ]
        pictures.write_page([pictures.row(each) for each in panels], run.picture(name))
        made.append(run.picture(name))
    return made


def curves(runs: Mapping[str, Run], path: Path, title: str = "") -> None:
    """Loss, PSNR, SSIM and learning rate over the steps, of one run or of several in one picture.

    Args:
        runs: by the names they have in the legend.
        path: of the PNG.
        title: above the panels; the run's name where there is one run.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: it keeps every figure and picks a window system.
    figure = Figure(figsize=(14.4, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(PANELS))
    for axis, (name, label) in zip(axes, PANELS, strict=True):
        largest, drawn = 0.0, [0.0]
        for number, (legend, run) in enumerate(runs.items()):
            steps, values = log.curve(run, name)
            colour = COLOURS[number % len(COLOURS)]
            line = LINES[number // len(COLOURS) % len(LINES)]
            shown = values if name != "loss" else smooth(values)
            if name == "loss":
                axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axis.plot(steps, shown, line, color=colour, label=legend, linewidth=1.4)
            largest = max(largest, *values) if values else largest
            drawn.extend(shown)
        axis.set_xlabel("step")
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
        if name == "loss" and len(drawn) > 20:
            # The first steps of some runs are far above all others, which are to be told apart.
            low, high = np.percentile(drawn[1:], (0, 97))
            axis.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        if name == "lr" and largest > 0:
            axis.set_yscale("log")
            axis.set_ylim(largest * 1e-4, largest * 2)
    if len(runs) > 1:
        axes[1].legend(fontsize=8)
    if len(runs) == 1 and not title:
        (title,) = runs
    if title:
        figure.suptitle(title, fontsize=12)
    figure.supxlabel(TUNE, fontsize=8, color="dimgrey")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    atomic.write_bytes(path, buffer.getvalue())


def smooth(values: Sequence[float]) -> NDArray[np.float64]:
    """The mean over a window of a thirtieth of the curve, shorter at its ends."""
    window = np.ones(max(1, len(values) // 30) | 1)
    count = np.convolve(np.ones(len(values)), window, mode="same")
    found: NDArray[np.float64] = np.convolve(values, window, mode="same") / count
    return found


def samples(method: Method, challenge: Challenge, path: Path) -> None:
    """Measured, estimate, truth and error of some val images, one row each.

    The method runs in this process, on the device that its weights are on.
    """
    import torch

    from challenge.data.physics.problem import tensors

    weights = [*method.parameters(), *method.buffers()]
    device = weights[0].device if weights else torch.device("cpu")
    method.eval()
    rows = []
    for identity in challenge.ids("val")[:SAMPLES]:
        measurement, truth = challenge.measurement("val", identity), challenge.truth(identity)
        torch.manual_seed(0)
        with torch.no_grad():
            x_hat = method(*tensors(measurement, device))[0].cpu().numpy()
        panels = _panels(measurement, x_hat, truth, challenge.crop, challenge.window)
        # Not before the first caption: the columns of all rows stand below each other.
        panels[2] = Panel(panels[2].picture, f"truth of {identity}")
        rows.append(pictures.row(panels))
    pictures.write_page(rows, path)


def _scores(image: NDArray[np.float32], truth: NDArray[np.float32], crop: int) -> str:
    """PSNR and SSIM of an image; empty where it has not the size of the truth."""
    if image.shape != truth.shape:
        return ""
    psnr = metrics.psnr(estimate=image, truth=truth, crop=crop)
    return f"{psnr:.2f} dB, SSIM {metrics.ssim(estimate=image, truth=truth, crop=crop):.3f}"


def _panels(
    measurement: Measurement,
    x_hat: NDArray[np.float32],
    truth: NDArray[np.float32],
    crop: int,
    window: tuple[float, float],
) -> list[Panel]:
    y = measurement.picture
    difference = magnitude(x_hat).clip(0, 1) - magnitude(truth)
    error = GAIN * np.abs(difference).mean(0, keepdims=True)
    # What does not count is black, as in `challenge compare`.
    inner = np.pad(np.ones([side - 2 * crop for side in error.shape[1:]]), crop)
    error = (error * inner).astype(np.float32)
    return [
        Panel(to_picture(y, window), f"{measurement.seen_as} {_scores(y, truth, crop)}".rstrip()),
        Panel(to_picture(x_hat, window), f"estimate {_scores(x_hat, truth, crop)}"),
        Panel(to_picture(truth, window), "truth"),
        Panel(to_picture(error), f"error x {GAIN}"),
    ]
