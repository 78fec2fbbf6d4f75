"""The zero-filled image: what magnetic resonance did not sample is taken for 0.

x_hat = A^+ y = F^-1 m y
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from challenge.methods.contract import Method

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


class ZeroFilled(Method):
    """The zero-filled image: the linear baseline of magnetic resonance imaging.

        x_hat = F^-1 m y

    Of all images that have the sampled frequencies it is the one of least energy. Left-out columns
    fold the image over itself, as noise where they are at random places, as ghosts where they are
    evenly spaced. Lustig, Donoho, Pauly, Sparse MRI, 2007.
    """

    operators = ("mri",)

    def forward(self, y: Tensor, physics: LinearPhysics) -> Tensor:
        """Reconstruct: `y` of shape (B, 2, H, W) gives `x_hat` of the same shape."""
        x_hat: Tensor = physics.A_dagger(y)
        return x_hat
