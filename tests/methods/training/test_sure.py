"""What is estimated of a measurement alone is what the truth would tell."""

import itertools

import pytest
import torch

from challenge.methods.training.sure import sure


@pytest.mark.parametrize(
    ("gain", "sigma"), [(0.0, 0.2), (0.1, 0.0), (0.1, 0.2)], ids=["gaussian", "poisson", "both"]
)
def test_the_mean_of_sure_is_the_squared_error_of_a_linear_estimator(gain, sigma):
    """E SURE = ||(M - I) u||^2 + tr(M V M^T) for f(y) = M y, V the covariance of the noise.

    SURE is quadratic in y and bilinear in the signs: its mean is that over the points
    u +- sqrt(6 v_i) e_i, and over all 64 signs of 6 numbers.
    """
    draw = torch.Generator().manual_seed(0)
    u = torch.rand(6, generator=draw, dtype=torch.float64) + 0.5
    m = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    v = gain * u + sigma**2
    away = torch.diag((6 * v).sqrt())
    points = torch.cat([u + away, u - away]).reshape(12, 1, 2, 3)

    def f(y):
        return (y.reshape(-1, 6) @ m.T).reshape(y.shape)

    levels = [torch.tensor(each, dtype=torch.float64).reshape(1, 1, 1, 1) for each in (gain, sigma)]
    found = [
        sure(
            f,
            points,
            *levels,
            torch.tensor(signs).double().reshape(1, 1, 2, 3).expand(12, -1, -1, -1),
        )
        for signs in itertools.product((-1.0, 1.0), repeat=6)
    ]
    error = (m @ u - u).square().sum() + (m.square() * v).sum()
    torch.testing.assert_close(torch.stack(found).mean(), error / 6, rtol=1e-9, atol=0)


def test_what_is_not_measured_adds_no_noise():
    """A mask sees half: the estimate is that of the numbers that are measured."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.tensor([1.0, 0, 1, 0, 1, 0]).reshape(1, 1, 2, 3)
    y = torch.rand(1, 1, 2, 3, generator=draw) * mask
    zero, sigma = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.1)
    found = sure(lambda y: 0.5 * y, y, zero, sigma, mask)
    seen = (0.5 * y[mask > 0]).square().sum() + 3 * (-(0.1**2) + 2 * 0.1**2 * 0.5)
    torch.testing.assert_close(found, (seen / 6).reshape(1))
