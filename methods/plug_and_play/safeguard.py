"""A watch over an iteration whose prox is a denoiser, which nothing makes converge.

    r_k = ||x_k - x_{k-1}|| / sqrt(n),   n values of an image

An image diverges when an estimate of it is not finite or leaves the range of images, or when r_k
is large and has grown. It is told from every image by itself, so that an image fares in a batch as
it does alone.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from challenge.configs.errors import Mistake, UserError

Safeguard = Literal["error", "best"]
"""What happens to an iteration that diverges: it is reported, or its best estimate is taken."""

BIGGEST = 10.0
"""An estimate beyond this, in units of the image range, has left every image behind."""
LARGE = 0.1
"""A residual above this, in units of the image range, is large ..."""
GROWN = 5.0
"""... and has grown when it is so many times the smallest one before."""
SHOWN = 12
"""So many residuals of a curve are shown, the last ones of a longer one."""


class Diverges(UserError):
    """An iteration was stopped because it diverges."""

    residuals: list[float]
    """Of the image, r_1, r_2, ..., in units of the image range."""

    @classmethod
    def after(cls, image: int, count: int, residuals: list[float]) -> Diverges:
        """The mistake of one of `count` images, with its curve and a remedy."""
        shown = " ".join(f"{each:.2g}" for each in residuals[-SHOWN:])
        more = "... " if len(residuals) > SHOWN else ""
        place = f"image {image + 1} of {count}" if count > 1 else "the image"
        cause = (
            f"the iteration diverges, it was stopped after {len(residuals)} passes of the "
            f"denoiser; the estimate changed by {more}{shown}"
        )
        remedy = (
            "give another denoiser, or `method.safeguard=best` for the best estimate until then"
        )
        found = cls(Mistake(place, cause, remedy))
        found.residuals = residuals
        return found


class Watch:
    """Watches the estimates of a batch; what it was shown best of every image is `best`.

    The best estimate is the one that changed least from the one before it.
    """

    def __init__(self, start: Tensor, safeguard: Safeguard) -> None:
        """Take the first estimate, shape (B, C, H, W)."""
        self.safeguard = safeguard
        self.best = start
        self.curves: list[Tensor] = []
        """Residuals of every step, each of shape (B,)."""
        self.smallest = start.new_full((len(start),), torch.inf)
        self.stopped = torch.zeros(len(start), 1, 1, 1, dtype=torch.bool, device=start.device)
        """Images that diverge, shape (B, 1, 1, 1)."""

    def __call__(self, x: Tensor, before: Tensor) -> Tensor:
        """The estimate, with the best one until then in place of what diverges.

        Args:
            x: the new estimate, shape (B, C, H, W).
            before: the one before it.

        Raises:
            Diverges: an image does, and the safeguard is `error`.
        """
        seen = x.detach()
        residual = (seen - before.detach()).square().mean((1, 2, 3)).sqrt()
        self.curves.append(residual)
        within = seen.abs().amax((1, 2, 3)) <= BIGGEST  # false for what is not a number
        grown = (residual > LARGE) & (residual > GROWN * self.smallest)
        newly = (~within | grown) & ~self.stopped.flatten()
        if self.safeguard == "error" and bool(newly.any()):
            image = int(newly.nonzero()[0])
            curve = [float(each[image]) for each in self.curves]
            raise Diverges.after(image, len(x), curve)
        self.stopped = self.stopped | newly.reshape(-1, 1, 1, 1)
        better = (residual < self.smallest) & ~self.stopped.flatten()
        self.smallest = torch.where(better, residual, self.smallest)
        self.best = torch.where(better.reshape(-1, 1, 1, 1), x, self.best)
        return torch.where(self.stopped, self.best, x)
