"""Stein's unbiased estimate of the squared error of A x_hat, of a measurement alone.

    ||f(y) - y||^2 - <1, v> + 2 <b v, f(y + t b) - f(y)> / t,   f(y) = A x_hat(y)

with v = gain y + sigma^2, the variance of the noise as y tells it, and signs b at random: the last
term is a Monte-Carlo estimate of 2 sum_i v_i df_i / dy_i. For Gaussian noise (gain 0) its mean is
||f(y) - A x||^2 where f is smooth (Stein 1981; Ramani, Blu, Unser 2008). For Poisson noise,
f(y - gain e_i) is f(y) - gain df / dy_i to first order, and for both of them together
2 gain sigma^2 sum_i d^2 f_i / dy_i^2 is left out (Le Montagner, Angelini, Olivo-Marin 2014): all
three are exact where f is affine.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

STEP = 0.01
"""t, in units of the image range."""


def sure(
    f: Callable[[Tensor], Tensor],
    y: Tensor,
    gain: Tensor,
    sigma: Tensor,
    signs: Tensor,
    *,
    at_y: Tensor | None = None,
) -> Tensor:
    """The estimate, a mean over the numbers of every measurement, shape (B,).

    Args:
        f: A x_hat of measurements.
        y: measurements, shape (B, C, H', W').
        gain: of the Poisson noise, shape (1 | B, 1, 1, 1); 0 where there is none.
        sigma: of the Gaussian noise, likewise.
        signs: b, 1 or -1 of the shape of `y`; 0 where nothing is measured.
        at_y: f(y), where it is at hand.
    """
    here = f(y) if at_y is None else at_y
    variance = (gain * y + sigma.square()) * signs.square()
    change = (f(y + STEP * signs) - here) / STEP
    each = (here - y).square() - variance + 2 * variance * signs * change
    return each.mean((1, 2, 3))
