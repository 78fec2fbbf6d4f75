"""Priors whose denoiser, and whose posterior, are known in closed form."""

import torch
from torch import Tensor

from challenge.methods.contract import Method


class Gaussian(Method):
    """N(mean, C) with a covariance that is dense, or `spread`^2 of white noise."""

    operators = ("identity",)

    def __init__(self, mean: float, covariance: Tensor | float) -> None:
        super().__init__()
        self.mean, self.covariance = mean, covariance

    def forward(self, y, physics):
        return self.denoise(y, physics.noise_model.sigma)

    def denoise(self, x, sigma):
        if isinstance(self.covariance, float):
            return self.mean + (x - self.mean) / (1 + (sigma / self.covariance).square())
        values, vectors = torch.linalg.eigh(self.covariance.to(x))
        centred = (x - self.mean).flatten(1) @ vectors
        gain = values / (values + sigma.reshape(-1, 1).square())
        return self.mean + (centred * gain @ vectors.T).reshape(x.shape)


def matrix(operator, shape) -> Tensor:
    """The matrix of a linear map of images (C, H, W), one column a pixel."""
    count = torch.Size(shape).numel()
    basis = torch.eye(count, dtype=torch.float64).reshape(count, *shape)
    return torch.stack([operator(each[None])[0].flatten() for each in basis], 1)


def posterior(a: Tensor, covariance: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Of x ~ N(m, C) given y = A x + noise n: G of the mean m + G (y - A m), and the covariance."""
    system = a @ covariance @ a.T + noise**2 * torch.eye(len(a)).to(a)
    gain = torch.linalg.solve(system, a @ covariance).T
    return gain, covariance - gain @ a @ covariance


def moments(sample, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a sampler whose samples are affine in its noise: exact, no chance.

    Args:
        sample: of a start (B, C, H, W) and a function from a step to its noise, to samples.
        x: the mean of the start, and its standard deviation.
        steps: the numbers of the steps that ask for noise are 1 to `steps`; others get none.
    """
    mean, spread = x
    count = mean.numel()
    rows = 1 + count * (1 + steps)
    unit = torch.zeros(rows, 1 + steps, count, dtype=torch.float64)
    for step in range(1 + steps):
        for place in range(count):
            unit[1 + step * count + place, step, place] = 1
    unit = unit.reshape(rows, 1 + steps, *mean.shape[1:])
    found = sample(
        mean + spread * unit[:, 0], lambda step: unit[:, step] if steps else 0 * mean
    ).flatten(1)
    response = found[1:] - found[:1]
    return found[0], response.T @ response
