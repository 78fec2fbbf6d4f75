"""A projection and a backprojection of computed tomography, beside ODL with ASTRA on the CPU.

    python -m benchmarks tomography [--quick]

One phantom of 256x256 pixels, 180 views over 180 degrees, parallel beams, float32, two threads, no
gradients. ODL and ASTRA are for this comparison only and not among the dependencies (MPL, GPL):
`pip install odl astra-toolbox` in an environment of one's own; without them it is left out, in
words. Both sides have as many detectors as the diagonal needs, as wide as a pixel, and are built
beforehand. The adjoint test <A x, y> = <x, A^T y> stands beside the times: a backprojector that is
not the transpose gives no exact gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed.bm3d import missing
from benchmarks.speed.timing import Result, paired
from challenge.data import noise
from challenge.data.images import phantoms
from challenge.data.physics import projector
from challenge.data.physics.parallel_beam import ParallelBeam

SIDE, VIEWS, THREADS = 256, 180, 2
Both = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""A and A^T."""
Calls = tuple[Callable[[], Any], Callable[[], Any]]


def ours() -> Both:
    """The sparse matrix and its transpose."""
    angles = (np.arange(VIEWS) * 180 / VIEWS).astype(np.float32)
    physics = ParallelBeam(torch.from_numpy(angles)[None], (1, SIDE, SIDE))
    return physics.A, physics.A_adjoint


def peer() -> Both:
    """ODL's ray transform by ASTRA, with its adjoint."""
    import odl

    tomo = odl.tomo if hasattr(odl, "tomo") else odl.applications.tomo
    half = SIDE / 2
    space = odl.uniform_discr([-half] * 2, [half] * 2, (SIDE, SIDE), dtype="float32")
    count = projector.detectors(SIDE, SIDE)
    views = odl.uniform_partition(0, np.pi, VIEWS)
    strips = odl.uniform_partition(-count / 2, count / 2, count)
    operator = tomo.RayTransform(space, tomo.Parallel2dGeometry(views, strips), impl="astra_cpu")
    return operator, operator.adjoint


def run(quick: bool = False) -> list[Result]:
    """Two results: how many times as fast as the peer; none where it is not installed."""
    if missing("odl", "astra"):
        return []
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.no_grad():
            return _against(3 if quick else 15)
    finally:
        torch.set_num_threads(threads)


def _against(pairs: int) -> list[Result]:
    A, back = ours()
    theirs, theirs_back = peer()
    x = phantoms.draw(noise.generator(0, "tomography"), SIDE)
    image = torch.from_numpy(x)[None]
    sinogram = A(image)
    here, there = theirs.domain.element(x[0]), theirs(theirs.domain.element(x[0]))
    gaps = (
        gap(sinogram.numpy(), x, back(sinogram).numpy()),
        abs(there.inner(there) / here.inner(theirs_back(there)) - 1),
    )
    return both_ways(
        f"{SIDE}x{SIDE}, {VIEWS} views, beside ODL with ASTRA on the CPU",
        (lambda: A(image), lambda: back(sinogram)),
        (lambda: theirs(here), lambda: theirs_back(there)),
        gaps,
        pairs,
    )


def both_ways(
    what: str, own: Calls, peer: Calls, gaps: tuple[float, float], pairs: int
) -> list[Result]:
    """How many times as fast as a peer a projection and a backprojection are.

    Args:
        what: size and peer, in words.
        own: both.
        peer: both.
        gaps: of either side's adjoint test.
        pairs: of timings.
    """
    results = []
    for way, mine, other in zip(("projection", "backprojection"), own, peer, strict=True):
        ratio, slow, fast = paired(other, mine, pairs)
        results.append(
            Result(
                what=f"CT {way}, {what}",
                measured=ratio,
                target=1.0,
                better="higher",
                unit="x faster",
                detail=(
                    f"{fast * 1e3:.1f} ms and {slow * 1e3:.0f} ms; adjoint test {gaps[0]:.0e} and "
                    f"{gaps[1]:.0e}"
                ),
            )
        )
    return results


def gap(y: NDArray[np.float32], x: NDArray[np.float32], back: NDArray[np.float32]) -> float:
    """Of <A x, y> and <x, A^T y>, for y = A x."""
    y, x, back = (each.astype(np.float64) for each in (y, x, back))
    return float(abs((y * y).sum() / (x * back).sum() - 1))
