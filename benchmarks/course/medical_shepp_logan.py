"""The test image of Adler, Oktem 2018, which no method has learned on, by methods of `ct`.

Their 19.8, 28.1 and 38.3 dB of filtered backprojection, total variation and Learned Primal-Dual are
of one image, the modified Shepp-Logan phantom of 128x128 pixels, with 30 views and noise of 5 % of
the mean of |A x|; the network had seen random ellipses alone. Here it is measured by the 60 views
of `ct`, with noise of 5 % of the same mean, `DRAWS` times.

Total variation stands there with a weight that is best for this image, as in the paper's code, and
with the one that was tuned on phantoms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from skimage.data import shepp_logan_phantom
from skimage.transform import resize_local_mean

from benchmarks.course.tuesday import Case, measure
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.methods.contract import Method
from challenge.methods.variational.tv import TV
from challenge.submissions import layout
from challenge.submissions.entries.load import load

SEED, DRAWS = 2018, 8
"""Of the noise, and how many times it is drawn."""
SHARE = 0.05
"""Standard deviation of the noise, of the mean of |A x|."""
WEIGHTS = 1e-5, 1e-2
"""Between which the best weight of total variation is looked for."""


def table(workspace: Workspace, runs: Mapping[str, layout.Run]) -> str:
    """A line each run of `ct`, total variation at its best before all others."""
    opened = open_challenge(workspace.public("ct").path)
    size = opened.config.images.size
    x = torch.from_numpy(resize_local_mean(shepp_logan_phantom(), (size, size))).float()[None, None]
    y, physics = tensors(opened.measurement("val", next(iter(opened.ids("val")))))
    clean = physics.A(x)
    sigma = SHARE * clean.abs().mean()
    physics.noise_model.update_parameters(sigma=sigma)
    generator = torch.Generator().manual_seed(SEED)
    noisy = [clean + sigma * torch.randn(y.shape, generator=generator) for _ in range(DRAWS)]
    cases = [Case(each, physics, x[0].numpy()) for each in noisy]

    def scored(method: Method) -> tuple[float, float]:
        torch.manual_seed(SEED)
        return measure(method, iter(cases))[:2]

    best = minimize_scalar(
        lambda power: -scored(TV(weight=float(10**power)))[0],
        bounds=np.log10(WEIGHTS),
        method="bounded",
        options={"xatol": 0.02},
    )
    rows = {"tv, weight best for this image": scored(TV(weight=float(10**best.x)))}
    rows |= {f"`{name.removeprefix('ct-')}`": scored(load(run.path)) for name, run in runs.items()}
    lines = ["| Shepp-Logan | PSNR (dB) | over TV at its best | SSIM |", "|---|---|---|---|"]
    base = next(iter(rows.values()))[0]
    for name, (level, similarity) in rows.items():
        lines.append(f"| {name} | {level:.2f} | {level - base:+.2f} | {similarity:.3f} |")
    return (
        "\n".join(lines) + f"\n\nThe modified Shepp-Logan phantom, {size}x{size}, by the operator "
        f"of `ct` with noise of {SHARE:.0%} of the mean of its sinogram (sigma {sigma:.4f}), mean "
        f"of {DRAWS} draws; methods as they were trained for `ct`, sigma 0.005."
    )
