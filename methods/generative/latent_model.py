"""What an autoencoder knows of images, as a prior: latents that are normal, and what they miss.

    z ~ N(0, I),   x = G(z) + r,   r ~ N(0, S),   S diagonal in the Fourier domain

G decodes latents that keep their place (`networks/autoencoder.py`). The latents of an autoencoder
are not normal by themselves: an affine map, learned after the training from the mean and the
covariance of their channels, makes them so (ex-post density estimation, Ghosh et al. 2020). S is
the power spectrum of what G(E(x)) misses of the training images, measured after the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from challenge.methods.transforms import spectrum

if TYPE_CHECKING:
    from challenge.data.images.dataset import Images

MEASURED = 64
"""Training images from which the prior's numbers are measured."""
SIDE = 256
"""Pixels of their sides that are looked at, at most."""
VARIANCE = 1e-2
"""Of r before a training."""
RIDGE = 1e-6
"""Added to a covariance of latents: a channel may be constant."""


class ImagePrior(nn.Module):
    """What is measured after the training; it travels with the weights."""

    centre: Tensor
    factor: Tensor
    log_spectrum: Tensor
    log_variance: Tensor

    def __init__(self, latent: int) -> None:
        """Take the number of the latents' channels; nothing is measured yet."""
        super().__init__()
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("factor", torch.eye(latent))
        white = torch.full((spectrum.BINS,), VARIANCE).log()
        self.register_buffer("log_spectrum", white)
        self.register_buffer("log_variance", torch.tensor(VARIANCE).log())

    def coloured(self, z: Tensor) -> Tensor:
        """The latents that the decoder is given, of normal ones (B, C, h, w)."""
        centre = self.centre.to(z)[:, None, None]
        return torch.einsum("ij,bjhw->bihw", self.factor.to(z), z) + centre

    def whitened(self, code: Tensor) -> Tensor:
        """The inverse of `coloured`."""
        flat = (code - self.centre.to(code)[:, None, None]).flatten(2)
        factor = self.factor.to(code)
        found: Tensor = torch.linalg.solve_triangular(factor, flat, upper=False)
        return found.reshape(code.shape)

    def learn_latents(self, codes: list[Tensor]) -> None:
        """Take mean and covariance of the channels of latents, a list of (C, h, w)."""
        every = torch.cat([code.flatten(1) for code in codes], dim=1).double()
        centre = every.mean(1, keepdim=True)
        away = every - centre
        covariance = away @ away.T / away.shape[1]
        ridge = RIDGE * (1 + covariance.diagonal().mean()) * torch.eye(len(covariance))
        self.centre.copy_(centre[:, 0])
        self.factor.copy_(torch.linalg.cholesky(covariance + ridge.to(covariance)))

    def learn_residual(self, residuals: list[Tensor]) -> None:
        """Take variance and power spectrum of what reconstructions miss, a list of (C, H, W)."""
        self.log_spectrum.copy_(spectrum.estimate(residuals))
        count = sum(each.numel() for each in residuals)
        total = sum(float(each.double().square().sum()) for each in residuals)
        self.log_variance.copy_(torch.tensor(max(total / count, 1e-8)).log())

    def residual_penalty(self, height: int, width: int, *, white: bool, like: Tensor) -> Tensor:
        """S^-1 on the grid of `rfft2`, broadcastable to (B, C, H, W // 2 + 1).

        Args:
            height: of the images.
            width: of the images.
            white: whether S is the variance of r alone.
            like: a tensor of the wanted type and device.
        """
        if white:
            return (-self.log_variance).exp().to(like).reshape(1, 1)
        found = spectrum.penalty(self.log_spectrum.to(like), height, width, mean=True)
        return found.to(like)


def some(images: Images) -> list[Tensor]:
    """The centres of some of the training images, each (C, H, W)."""
    return [centre(images, n) for n in range(0, len(images), -(-len(images) // MEASURED))]


def centre(images: Images, index: int) -> Tensor:
    """The centre of a training image, (C, H, W)."""
    _, height, width = images.shape(index)
    rows, columns = min(height, SIDE), min(width, SIDE)
    return images.patch(index, (height - rows) // 2, (width - columns) // 2, rows, columns)
