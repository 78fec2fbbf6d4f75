"""Wiener estimates for images of a radial power spectrum, from which other methods start.

    x_hat = m + (A^T A + strength sigma^2 S^-1)^-1 A^T (y - A m)

m = 0, but for a blur that is cut to the pixels that it sees from all sides (`valid`): then m is A^T
of the measurement continued by its edge, which is what is left where the measurement says little.

`variational/wiener.py` is the method of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms import spectrum

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images

ITERATIONS = 40
"""Conjugate gradient steps where there is no closed form. With little noise they stop before the
end, which is a regularisation of its own."""
SPECTRUM_IMAGES = 64
"""The power spectrum, 48 numbers, is known from this many images."""


class WienerFilter(nn.Module):
    """Wiener estimates for images of a power spectrum.

    A method holds one, so that the spectrum travels with its weights. Before it is learned, it
    is a typical one of photographs.
    """

    log_spectrum: Tensor

    def __init__(self, strengths: Sequence[float] = (1.0,), iterations: int = ITERATIONS) -> None:
        """Take the strengths; arguments as for `wiener`."""
        super().__init__()
        self.strengths, self.iterations = tuple(strengths), iterations
        self.register_buffer("log_spectrum", spectrum.typical())

    def forward(self, data: DataTerm) -> Tensor:
        """Estimates at every strength, shape (n, B, C, H, W)."""
        return _estimates(data, self.log_spectrum, self.strengths, self.iterations)

    def learn(self, images: Images) -> None:
        """Learn the power spectrum from some of the training images."""
        few = images.subset(range(0, len(images), -(-len(images) // SPECTRUM_IMAGES)))
        self.log_spectrum.copy_(spectrum.estimate(few))


def wiener(
    y: Tensor,
    physics: LinearPhysics,
    log_spectrum: Tensor,
    strengths: Sequence[float],
    iterations: int = ITERATIONS,
) -> Tensor:
    """Wiener estimates at several strengths at once.

    Args:
        y: measurements, shape (B, C, H', W').
        physics: a linear operator.
        log_spectrum: from `spectrum.estimate`, shape (spectrum.BINS,).
        strengths: n factors of sigma^2 / S, each > 0.
        iterations: conjugate gradient steps where there is no closed form.

    Returns:
        Estimates of shape (n, B, C, H, W).
    """
    return _estimates(DataTerm(y, physics), log_spectrum, strengths, iterations)


def _estimates(
    data: DataTerm, log_spectrum: Tensor, strengths: Sequence[float], iterations: int
) -> Tensor:
    """`wiener` of measurements whose data term is at hand."""
    noise = data.sigma.square() * spectrum.penalty(log_spectrum.to(data.y.dtype), *data.size)
    m = data.continued
    return torch.stack(
        [
            data.regularised(s * noise, iterations=iterations)
            if m is None
            else data.prox(m, s * noise, iterations=iterations)
            for s in strengths
        ]
    )
