"""Total variation beside SCICO's ADMM, whose subproblem is solved by FFT.

    python -m benchmarks scico_admm [--quick]

A grey photograph (scikit-image's astronaut, centre, 256x256), the kernel of `deblur`, sigma 0.03,
circular, weight 0.004, float32. SCICO (BSD) is for this comparison only and not among the
dependencies: `pip install scico` in an environment of one's own; without it it is left out, in
words. Its FFT solver wants differences that wrap around, where ours are 0 at the border: the minima
are two, and each side takes so many iterations as bring its objective to within 0.2 % of its own
minimum, as computed in numpy and float64, by 600 iterations of its own. SCICO's penalty is that of
five which needs the fewest, and its steps are called one by one, so that it computes no statistics
in between; its operators are compiled (`jit`) before the clock starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed import tv
from benchmarks.speed.bm3d import missing
from benchmarks.speed.timing import Result, paired
from challenge.data.physics.blur import blur
from challenge.methods.transforms.structure import transfer_function
from challenge.methods.variational.tv import solve
from challenge.methods.variational.tv_admm import admm

NEAR = 2e-3
"""Of the objective, how far above its minimum."""
LONG = 600
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
Plane = NDArray[np.float64]


def objective(x: Plane, y: Plane, kernel: Plane, *, wraps: bool) -> float:
    """1/2 ||k * x - y||^2 + weight TV(x), with differences that wrap around or are 0 at the end."""
    padded = np.zeros_like(x)
    half = len(kernel) // 2
    padded[: len(kernel), : len(kernel)] = kernel
    spectrum = np.fft.fft2(np.roll(padded, (-half, -half), (0, 1)))
    residual = np.fft.ifft2(spectrum * np.fft.fft2(x)).real - y
    ends = (x[:1], x[:, :1]) if wraps else (x[-1:], x[:, -1:])
    rows, columns = (np.diff(x, axis=axis, append=ends[axis]) for axis in (0, 1))
    return float(0.5 * (residual**2).sum() + tv.WEIGHT * np.hypot(rows, columns).sum())


def peer(y: NDArray[np.float32], kernel: NDArray[np.float32], penalty: float) -> Any:
    """SCICO's solver, before its first step."""
    import jax.numpy as jnp
    from scico import functional, linop, loss
    from scico.optimize.admm import ADMM, CircularConvolveSolver

    half = len(kernel) // 2
    measured = jnp.asarray(y)
    A = linop.CircularConvolve(
        jnp.asarray(kernel), y.shape, input_dtype=np.float32, h_center=jnp.array([half, half])
    )
    return ADMM(
        f=loss.SquaredL2Loss(y=measured, A=A),
        g_list=[tv.WEIGHT * functional.L21Norm()],
        C_list=[linop.FiniteDifference(y.shape, input_dtype=np.float32, circular=True)],
        rho_list=[penalty],
        x0=measured,
        maxiter=LONG,
        subproblem_solver=CircularConvolveSolver(),
        itstat_options={"display": False},
    )


def needed(values: list[float], least: float) -> int:
    """The first of these objectives that is near the least one, counted from 1; else too many."""
    near = (n for n, value in enumerate(values, 1) if value <= least * (1 + NEAR))
    return next(near, LONG + 1)


def run(quick: bool = False) -> list[Result]:
    """One result: how many times faster; none where the peer is not installed."""
    if missing("scico"):
        return []
    threads = torch.get_num_threads()
    torch.set_num_threads(tv.THREADS)
    try:
        with torch.no_grad():
            return [_against(3 if quick else 15)]
    finally:
        torch.set_num_threads(threads)


def _against(pairs: int) -> Result:
    import jax

    colours, _, kernel = tv.problem()
    kernel = kernel.reshape(kernel.shape[-2:])
    y = colours.mean(1, keepdim=True)
    physics = blur(torch.from_numpy(kernel)[None, None], tv.SIGMA, "circular", (1, *y.shape[-2:]))
    weight = torch.full((1, 1, 1, 1), tv.WEIGHT)
    transfer = transfer_function(physics, *y.shape[-2:])
    assert transfer is not None
    plane, exact = y[0, 0].double().numpy(), kernel.astype(np.float64)

    def own() -> Iterator[float]:
        for x, _ in itertools.islice(admm(y, transfer, weight, coupled=True), LONG):
            yield objective(x[0, 0].double().numpy(), plane, exact, wraps=False)

    def other(penalty: float) -> Iterator[float]:
        solver = peer(y[0, 0].numpy(), kernel, penalty)
        for _ in range(LONG):
            solver.step()
            yield objective(np.asarray(solver.x, np.float64), plane, exact, wraps=True)

    mine, known = list(own()), {penalty: list(other(penalty)) for penalty in PENALTIES}
    count = needed(mine, min(mine))
    least = min(min(values) for values in known.values())
    counts = {penalty: needed(values, least) for penalty, values in known.items()}
    penalty = min(counts, key=counts.__getitem__)

    def ours() -> Any:
        return solve(y, physics, weight, iterations=count, coupled=True)

    solver = peer(y[0, 0].numpy(), kernel, penalty)
    solver.step()  # compiled now
    begin = solver.x, solver.z_list, solver.u_list

    def theirs() -> Any:
        solver.x, solver.z_list, solver.u_list = begin
        for _ in range(counts[penalty]):
            solver.step()
        return jax.block_until_ready(solver.x)

    ratio, slow, fast = paired(theirs, ours, pairs)
    return Result(
        what=f"TV, {tv.SIDE}x{tv.SIDE}, beside SCICO's ADMM with its FFT solver",
        measured=ratio,
        target=10.0,
        better="higher",
        unit="x faster",
        detail=(
            f"{fast * 1e3:.0f} ms ({count} iterations) and {slow * 1e3:.0f} ms "
            f"({counts[penalty]}, penalty {penalty:g}), each within 0.2 % of its minimum"
        ),
    )
