"""Wiener deconvolution with the power spectrum of natural images.

    x_hat = argmin_x ||A x - y||^2 / sigma^2 + strength sum_f |FFT(x)(f)|^2 / (H W S(f))
          = F^-1 [ conj(h) F y / (|h|^2 + strength sigma^2 / S) ]    for a circular boundary

Wiener 1949; the linear minimum-mean-square estimate where S is the images' spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms import spectrum

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

ITERATIONS = 40
"""Conjugate gradient steps where there is no closed form. With little noise they stop before the
end, which is a regularisation of its own."""
SPECTRUM_IMAGES = 64
"""The power spectrum, 48 numbers, is known from this many images."""


class WienerFilter(nn.Module):
    """Wiener estimates for images of a power spectrum, from which other methods start.

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


class Wiener(Method):
    """Wiener deconvolution: the best linear estimate for images of a known power spectrum.

        x_hat = F^-1 [ conj(h) F y / (|h|^2 + strength sigma^2 / S) ]  (circular)
        (A^T A + strength sigma^2 S^-1) x_hat = A^T y                  (else, by CG)

    S is the radial power spectrum, learned from the training images; a constant in its place
    hardly beats the blurred image. Wiener, Extrapolation, Interpolation, and Smoothing of
    Stationary Time Series, 1949.
    """

    def __init__(self, *, strength: Annotated[float, Gt(0)] = 1.0) -> None:
        """Take the strength.

        Args:
            strength: factor of sigma^2 / S; 1 is the best linear estimate, more is smoother.
        """
        super().__init__()
        self.wiener = WienerFilter([strength])

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, C, H', W') gives `x_hat` of shape (B, C, H, W)."""
        estimate: Tensor = self.wiener(DataTerm(y, physics))[0]
        return estimate

    def fit(self, problem: Problem, images: Images, train: TrainConfig, session: Session) -> None:
        """Learn the power spectrum of the training images."""
        total = len(images)

        def watched() -> object:
            for index in range(total):
                if session.should_stop():
                    return
                yield images[index]
                session.log(index + 1, total)

        self.wiener.log_spectrum.copy_(spectrum.estimate(watched()))  # type: ignore[arg-type]


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
    return torch.stack([data.regularised(s * noise, iterations=iterations) for s in strengths])
