"""Filtered backprojection: the inverse of the Radon transform, of as many views as there are.

    x_hat = dtheta sum_theta (h * y_theta)(u cos theta + v sin theta)

h is the ramp |f|, times a window that is 0 from a cutoff on. Radon 1917; Ramachandran,
Lakshminarayanan 1971.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Le
from torch import Tensor

from challenge.data.physics.projector import Window
from challenge.methods.contract import Method

if TYPE_CHECKING:
    from challenge.data.physics.parallel_beam import ParallelBeam


class FBP(Method):
    """Filtered backprojection: the linear baseline of computed tomography.

        x_hat = dtheta sum_theta (h * y_theta)(u cos theta + v sin theta),   h^ = |f| w(f)

    Exact for all angles without noise, whatever the image; few views leave streaks, and the ramp
    raises the noise of high frequencies. Radon, Ueber die Bestimmung von Funktionen durch ihre
    Integralwerte laengs gewisser Mannigfaltigkeiten, 1917; Ramachandran, Lakshminarayanan,
    Three-dimensional reconstruction from radiographs and electron micrographs, 1971.
    """

    operators = ("ct",)

    def __init__(
        self,
        *,
        window: Window = "ram_lak",
        cutoff: Annotated[float, Gt(0), Le(1)] = 1.0,
    ) -> None:
        """Take the filter.

        Args:
            window: w, what the ramp is multiplied by: nothing (`ram_lak`), or what falls smoothly
                to 0 at the cutoff, less noisy and less sharp (`cosine`, `hann`).
            cutoff: frequency from which on nothing is left, of the highest one.
        """
        super().__init__()
        self.window: Window = window
        self.cutoff = cutoff

    def forward(self, y: Tensor, physics: ParallelBeam) -> Tensor:
        """Reconstruct: sinograms (B, C, V, D) give `x_hat` of shape (B, C, H, W)."""
        return physics.fbp(y, self.window, self.cutoff)
