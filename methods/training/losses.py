"""The losses of supervised training, by name: each a scalar of what a method says and the truth.

    mse            mean (x_hat - x)^2                            what PSNR measures
    l1             mean |x_hat - x|
    charbonnier    mean sqrt((x_hat - x)^2 + eps^2)              Charbonnier et al. 1994
    huber          mean Huber_delta(x_hat - x)                   Huber 1964
    ssim           1 - SSIM(x_hat, x)                            Wang et al. 2004; Zhao et al. 2017
    cross_entropy  mean -sum_k q_k(x) log p_k                    a distribution over intensities

All but the last take estimates x_hat, the last takes logits; images live in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from challenge.configs.schema.training import Loss

EPSILON = 1e-3
"""Of Charbonnier's loss: below a quarter of a grey level it is quadratic."""
DELTA = 0.03
"""Of Huber's loss: errors above about 8 grey levels count linearly."""
WINDOW, SPREAD = 11, 1.5
"""Side and standard deviation of SSIM's Gaussian window, in pixels."""


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error, a scalar; both (B, C, H, W)."""
    return F.mse_loss(x_hat, x)


def l1(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error, a scalar; both (B, C, H, W)."""
    return F.l1_loss(x_hat, x)


def charbonnier(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + eps^2), a smooth absolute error, a scalar; both (B, C, H, W)."""
    return ((x_hat - x).square() + EPSILON**2).sqrt().mean()


def huber(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean of d^2 / 2 up to delta, of delta (|d| - delta / 2) beyond; both (B, C, H, W)."""
    return F.huber_loss(x_hat, x, delta=DELTA)


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - mean SSIM, a scalar in [0, 2]; both (B, C, H, W), 11 pixels a side or more."""
    return 1 - similarity(x_hat, x).mean()


def similarity(x_hat: Tensor, x: Tensor) -> Tensor:
    """SSIM of every image, shape (B,), differentiable; the judge's definition in torch.

    Gaussian window, population covariance, data range 1, the mean over channels and over the
    pixels whose window lies inside (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13).
    torchmetrics averages over a padded border as well and differs by about 0.008.

    Raises:
        ValueError: the images are smaller than the window.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} pixels a side, images of {tuple(x.shape)} have less")
    a, b = x_hat.flatten(0, 1)[:, None], x.flatten(0, 1)[:, None]
    # Products of five digits each: bfloat16 has two, the TF32 of GPUs three.
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with torch.autocast(x.device.type, enabled=False), exact:
        a, b = a.to(x.dtype), b.to(x.dtype)
        weight = _window().to(x)
        stack = torch.cat([a, b, a * a, b * b, a * b])
        means = F.conv2d(F.conv2d(stack, weight[None, None, :, None]), weight[None, None, None])
        mu_a, mu_b, aa, bb, ab = means.chunk(5)
        c1, c2 = 0.01**2, 0.03**2
        top = (2 * mu_a * mu_b + c1) * (2 * (ab - mu_a * mu_b) + c2)
        bottom = (mu_a**2 + mu_b**2 + c1) * (aa - mu_a**2 + bb - mu_b**2 + c2)
        return (top / bottom).reshape(*x.shape[:2], -1).mean((1, 2))


@cache
def _window() -> Tensor:
    """SSIM's Gaussian window in one direction, shape (WINDOW,), sum 1."""
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weight = torch.exp(-(place**2) / (2 * SPREAD**2))
    return weight / weight.sum()


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """Mean cross-entropy of every channel's value, a scalar in nats.

    Args:
        logits: shape (B, C, K, H, W), of K intensities k / (K - 1).
        x: truth in [0, 1], shape (B, C, H, W). Its value is split over the two neighbouring
            intensities such that its expectation is kept.
    """
    count = logits.shape[2]
    place = x.clamp(0, 1) * (count - 1)
    below = place.floor().clamp(max=count - 2)
    share = (place - below)[:, :, None]
    index = below.long()[:, :, None]
    logs = logits.to(x.dtype).log_softmax(2)
    found = (1 - share) * logs.gather(2, index) + share * logs.gather(2, index + 1)
    return -found.mean()


def expectation(logits: Tensor) -> Tensor:
    """The mean intensity of logits (B, C, K, H, W) over k / (K - 1), shape (B, C, H, W)."""
    levels = torch.linspace(0, 1, logits.shape[2], device=logits.device, dtype=logits.dtype)
    return (logits.softmax(2) * levels[:, None, None]).sum(2)


LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "l1": l1,
    "charbonnier": charbonnier,
    "huber": huber,
    "ssim": ssim,
    "cross_entropy": cross_entropy,
}
