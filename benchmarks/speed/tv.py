"""Total variation beside deepinv's solvers: same problem, same or lower objective, time as a ratio.

    python -m benchmarks tv [--quick]          python -m benchmarks.speed.tv [--quick] [--json]

One photograph (scikit-image's astronaut, centre, 3x256x256), the kernel of `deblur`, sigma 0.03,
circular, `coupled: false`, weight 0.004 (the best PSNR of 0.003 to 0.007), float32, two threads,
no gradients.

The peers' settings are those of a user who tried some and kept the best:
    PGD    `TVPrior(n_it_max=20)`, 100 iterations, step 1: the largest that ||A|| <= 1 allows. With
           its default of 1000 inner iterations it takes many times as long.
    PDCP   `K` = nabla, `L12Prior`, closed-form data step, 100 iterations from x = y and a dual
           variable of 0; stepsize 2, stepsize_dual 1/16 (their product times 8 is 1): the lowest
           objective of seven tried, 1/4 to 16.
Ours stops at the first iteration whose objective is at most the peer's final one. The objective is
computed by one function, in numpy and float64, that neither side uses.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.speed.timing import Result, holds, paired
from challenge.configs.loader import load_challenge
from challenge.data.noise import normal
from challenge.data.physics import kernels
from challenge.data.physics.blur import blur
from challenge.methods.transforms.structure import transfer_function
from challenge.methods.variational.tv import solve
from challenge.methods.variational.tv_admm import admm

WEIGHT = 0.004
SIGMA = 0.03
SIDE = 256
THREADS = 2


def objective(x: Tensor, y: Tensor, kernel: NDArray[np.float32]) -> float:
    """1/2 ||k * x - y||^2 + WEIGHT TV(x): periodic blur, Neumann differences, each colour alone."""
    image, measured = (each[0].double().numpy() for each in (x, y))
    half = kernel.shape[-1] // 2
    padded = np.zeros((SIDE, SIDE))
    padded[: kernel.shape[-2], : kernel.shape[-1]] = kernel
    spectrum = np.fft.fft2(np.roll(padded, (-half, -half), (0, 1)))
    residual = np.fft.ifft2(spectrum * np.fft.fft2(image)).real - measured
    rows = np.diff(image, axis=1, append=image[:, -1:])
    columns = np.diff(image, axis=2, append=image[:, :, -1:])
    return float(0.5 * (residual**2).sum() + WEIGHT * np.hypot(rows, columns).sum())


def problem() -> tuple[Tensor, Any, NDArray[np.float32]]:
    """Measurement (1, 3, SIDE, SIDE), operator and kernel (k, k)."""
    from skimage.data import astronaut

    config, source = load_challenge("deblur")
    kernel = kernels.build(config.operator.kernel, source.path, lambda _: None)[0]
    photograph = astronaut()
    top, left = ((side - SIDE) // 2 for side in photograph.shape[:2])
    crop = photograph[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1).copy()
    x = torch.from_numpy(crop)[None].float() / 255
    physics = blur(torch.from_numpy(kernel)[None, None], SIGMA, "circular", (3, SIDE, SIDE))
    noise = torch.from_numpy(normal(b"benchmark", "tv", 0, x.shape))
    return physics.A(x) + SIGMA * noise, physics, kernel


def pgd(y: Tensor, physics: Any, iterations: int = 100, inner: int = 20) -> Tensor:
    """deepinv's proximal gradient; a fresh prior, since its inner solver keeps state."""
    from deepinv.optim import L2, PGD, TVPrior

    model = PGD(
        prior=TVPrior(n_it_max=inner),
        data_fidelity=L2(),
        lambda_reg=WEIGHT,
        stepsize=1.0,
        max_iter=iterations,
    )
    out: Tensor = model(y, physics)
    return out


def pdcp(y: Tensor, physics: Any, iterations: int = 100, stepsize: float = 2.0) -> Tensor:
    """deepinv's Chambolle-Pock on the gradient."""
    from deepinv.models import TVDenoiser
    from deepinv.optim import L2, PDCP
    from deepinv.optim.prior import L12Prior

    model = PDCP(
        K=TVDenoiser.nabla,
        K_adjoint=TVDenoiser.nabla_adjoint,
        data_fidelity=L2(),
        prior=L12Prior(l2_axis=-1),
        lambda_reg=WEIGHT,
        stepsize=stepsize,
        stepsize_dual=1 / (8 * stepsize),
        g_first=True,
        max_iter=iterations,
        custom_init=lambda y, physics: {"est": (y, y, torch.zeros((*y.shape, 2)))},
    )
    out: Tensor = model(y, physics)
    return out


def run(quick: bool = False) -> list[Result]:
    """Two results: how many times faster than PGD and than PDCP."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.no_grad():
            return [
                _against("PGD` + `TVPrior", pgd, 50, 1 if quick else 5),
                _against("PDCP", pdcp, 3, 3 if quick else 15),
            ]
    finally:
        torch.set_num_threads(threads)


def _against(name: str, peer: Callable[..., Tensor], target: float, pairs: int) -> Result:
    y, physics, kernel = problem()
    weight = torch.full((1, 1, 1, 1), WEIGHT)

    final = objective(peer(y, physics), y, kernel)
    transfer = transfer_function(physics, SIDE, SIDE)
    assert transfer is not None
    steps = itertools.islice(admm(y, transfer, weight, coupled=False), 500)
    needed = next(
        (n for n, (x, _) in enumerate(steps, 1) if objective(x, y, kernel) <= final), None
    )
    if needed is None:
        raise RuntimeError(f"500 iterations do not reach the objective {final} of {name}")

    def ours() -> Tensor:
        return solve(y, physics, weight, iterations=needed, coupled=False)

    reached = objective(ours(), y, kernel)
    ratio, theirs, own = paired(lambda: peer(y, physics), ours, pairs)
    return {
        "what": f"TV, 3x{SIDE}x{SIDE}, beside deepinv `{name}`",
        "measured": ratio,
        "target": target,
        "better": "higher",
        "unit": "x faster",
        "detail": (
            f"{own * 1e3:.0f} ms ({needed} iterations, objective {reached:.4f}) and "
            f"{theirs * 1e3:.0f} ms ({final:.4f})"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.tv")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    arguments = parser.parse_args()
    results = run(arguments.quick)
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        verdict = "holds" if holds(result) else "falls short"
        print(f"{result['what']}: {result['measured']:.3g} {result['unit']}, {verdict}")
        print(f"    {result['detail']}")


if __name__ == "__main__":
    main()
