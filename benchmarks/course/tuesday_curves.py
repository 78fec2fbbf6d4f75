"""The curves of `docs/course/tuesday.md` that are not about sparse coding.

    python -m benchmarks.course.tuesday_curves [WORKSPACE]

Short trainings on `deblur`; what is finished is used again.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.course.readme import challenge
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.data.physics.blur import blur
from challenge.data.physics.problem import tensors
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.solvers.implicit import Adjoint
from challenge.methods.transforms.structure import transfer_function
from challenge.methods.variational import huber
from challenge.methods.variational.tv_admm import admm
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.reports.training_pictures import COLOURS
from challenge.submissions.runs.sweep import grid
from challenge.submissions.scoring.metrics import psnr

FOLDER = Path(__file__).parents[2] / "docs" / "course"
SWEEP = "method.steps=1,2,4,8"
SMALL = ["method.tied=true", "method.net.width=12", "method.net.blocks=1", "train.minutes=null",
         "train.steps=600", "train.evaluate=200"]  # fmt: skip
ITERATIONS = (2, 5, 10, 20, 40, 80, 160, 320)
SHOWN = 16
"""Steps that are drawn."""


def main() -> None:
    workspace = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    option = ["--workspace", str(workspace.path)]
    if not workspace.public("deblur").config.exists():
        challenge("prepare", "deblur", *option)
    opened = open_challenge(workspace.public("deblur").path)
    hypergradients(opened)
    name = "tuesday-steps"
    command = ["train", "unrolled", f"name={name}", *SMALL, "--sweep", SWEEP]
    challenge(*command, "--resume", *option)
    made = {point.settings[0].partition("=")[2]: point.name for point in grid([SWEEP], name)}
    trained = {
        count: load(layout.run(workspace, "deblur", run).path) for count, run in made.items()
    }
    steps(opened, trained)


def hypergradients(opened: Challenge) -> None:
    """Error of the derivative with respect to the weight, over iterations of the lower level."""
    identity = opened.ids("val")[0]
    _, physics = tensors(opened.measurement("val", identity))
    truth = torch.from_numpy(opened.truth(identity))[None, :, :96, :96].double()
    # A crop, so that the step-by-step derivative through 320 iterations takes little memory.
    physics = blur(physics.filter.double(), 0.03, "circular", (3, 96, 96))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(truth.shape, generator=generator, dtype=truth.dtype)
    y = physics.A(truth) + 0.03 * noise
    weight = torch.tensor(0.004, dtype=y.dtype).log().requires_grad_()
    eps = torch.tensor(0.01, dtype=y.dtype)

    def derivative(mode: str, iterations: int, tolerance: float = 0.0) -> Tensor:
        found = huber.solve(
            y,
            physics,
            weight.exp().reshape(1),
            eps,
            tolerance=tolerance,
            iterations=iterations,
            hypergradient=mode,
            adjoint=Adjoint(tolerance=1e-9, iterations=1000, strict=False),
        )
        loss = (found.x - truth).square().mean() / 2
        return torch.autograd.grad(loss, weight)[0]

    exact = derivative("implicit", 5000, 1e-12)
    axes, save = _axes("iterations of the lower level", "relative error of the hypergradient")
    for mode, colour in zip(("implicit", "unrolled", "jacobian_free"), COLOURS, strict=False):
        errors = [float((derivative(mode, n) - exact).abs() / exact.abs()) for n in ITERATIONS]
        axes.loglog(ITERATIONS, errors, "o-", color=colour, label=mode, markersize=4)
    axes.legend(frameon=False)
    save("tuesday-hypergradient.png")


@torch.no_grad()
def steps(opened: Challenge, trained: dict[str, Unrolled]) -> None:
    """Mean PSNR on val after every step: TV by ADMM, and unrolled nets beyond their own end."""
    axes, save = _axes("step", "PSNR on val (dB)")
    cases = [(*tensors(opened.measurement("val", i)), opened.truth(i)) for i in opened.ids("val")]

    def curve(estimates) -> list[float]:
        rows = [
            [
                psnr(estimate=x[0].numpy(), truth=truth, crop=opened.crop)
                for x in itertools.islice(estimates(y, physics), SHOWN)
            ]
            for y, physics, truth in cases
        ]
        return np.mean(rows, axis=0).tolist()

    def tv(y: Tensor, physics):
        weight = y.new_full((1, 1, 1, 1), 0.007)
        transfer = transfer_function(physics, *y.shape[-2:])
        return (x for x, _ in admm(y, transfer, weight, coupled=True))

    axes.plot(range(1, SHOWN + 1), curve(tv), color="grey", label="TV by ADMM")
    for (count, method), colour in zip(trained.items(), COLOURS, strict=False):
        last = int(count)
        values = curve(lambda y, physics: method.estimates(y, physics, SHOWN))  # noqa: B023
        axes.plot(range(1, last + 1), values[:last], color=colour, label=f"trained for {count}")
        axes.plot(range(last, SHOWN + 1), values[last - 1 :], ":", color=colour)
        axes.plot(last, values[last - 1], "o", color=colour)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 20), high)
    axes.legend(frameon=False)
    save("tuesday-steps.png")


def _axes(x: str, y: str):
    """Axes with names, and the function that writes the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return axes, lambda name: figure.savefig(FOLDER / name, dpi=110)


if __name__ == "__main__":
    main()
