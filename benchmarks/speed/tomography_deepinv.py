"""A projection and a backprojection of computed tomography, beside deepinv's `Tomography`.

    python -m benchmarks tomography_deepinv [--quick]

Phantoms of 128x128 pixels, the 60 views of `ct`, float32, two threads, no gradients, one image and
a batch of 8. deepinv turns the image and sums its columns; its adjoint is that of automatic
differentiation, exact, or the faster one by interpolation, which is not: the exact one is timed.
Both are built beforehand.
"""

from __future__ import annotations

import torch
from deepinv.physics import Tomography

from benchmarks.speed import tomography
from benchmarks.speed.timing import Result
from challenge.data import noise
from challenge.data.images import phantoms
from challenge.data.physics.parallel_beam import ParallelBeam

SIDE, VIEWS, THREADS, BATCHES = 128, 60, 2, (1, 8)


def run(quick: bool = False) -> list[Result]:
    """Four results: how many times as fast, both ways, by batch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.no_grad():
            return [each for batch in BATCHES for each in _against(batch, 3 if quick else 15)]
    finally:
        torch.set_num_threads(threads)


def _against(batch: int, pairs: int) -> list[Result]:
    angles = torch.arange(VIEWS) * 180 / VIEWS
    own = ParallelBeam(angles[None], (1, SIDE, SIDE))
    peer = Tomography(angles=angles, img_width=SIDE, circle=False, normalize=False)
    drawn = [phantoms.draw(noise.generator(n, "tomography"), SIDE) for n in range(batch)]
    x = torch.stack([torch.from_numpy(each) for each in drawn])
    here, there = own.A(x), peer.A(x)
    back, their_back = own.A_adjoint(here), peer.A_adjoint(there)
    return tomography.both_ways(
        f"{batch} of {SIDE}x{SIDE}, {VIEWS} views, beside deepinv's",
        (lambda: own.A(x), lambda: own.A_adjoint(here)),
        (lambda: peer.A(x), lambda: peer.A_adjoint(there)),
        (
            tomography.gap(here.numpy(), x.numpy(), back.numpy()),
            tomography.gap(there.numpy(), x.numpy(), their_back.numpy()),
        ),
        pairs,
    )
