"""Wiener deconvolution with the power spectrum of natural images.

    x_hat = argmin_x ||A x - y||^2 / sigma^2 + strength sum_f |FFT(x)(f)|^2 / (H W S(f))
          = F^-1 [ conj(h) F y / (|h|^2 + strength sigma^2 / S) ]    for a circular boundary

Wiener 1949; the linear minimum-mean-square estimate where S is the images' spectrum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt
from torch import Tensor

from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, Session
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import WienerFilter
from challenge.methods.transforms import spectrum

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem


class Wiener(Method):
    """Wiener deconvolution: the best linear estimate for images of a known power spectrum.

        x_hat = F^-1 [ conj(h) F y / (|h|^2 + strength sigma^2 / S) ]  (circular)
        (A^T A + strength sigma^2 S^-1) x_hat = A^T y                  (else, by CG)
        (A^T A + strength sigma^2 S^-1) (x_hat - m) = A^T (y - A m)    (valid)

    S is the radial power spectrum, learned from the training images; a constant in its place
    hardly beats the blurred image. m is A^T of the measurement continued by its edge: x_hat where
    a valid blur sees little. Wiener, Extrapolation, Interpolation, and Smoothing of
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
