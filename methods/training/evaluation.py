"""PSNR and SSIM of a method on the held-out tune images, one by one as in the judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method
from challenge.methods.training import outputs, patches
from challenge.methods.training.losses import WINDOW, similarity

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

Estimate = Callable[[Method, Tensor, "LinearPhysics"], Tensor]
"""(method, y, physics) -> what is compared with the images, in place of its `forward`."""


class Quality(NamedTuple):
    """Mean PSNR in dB and mean SSIM; SSIM is nan where the images are smaller than its window."""

    psnr: float
    ssim: float


@torch.no_grad()
def sums(
    method: Method,
    tune: Images,
    problem: Problem,
    device: torch.device,
    indices: range | None = None,
    estimate: Estimate | None = None,
) -> Tensor:
    """Sums of PSNR and SSIM over tune images, float64 of shape (2,); `method` is in eval mode.

    Args:
        indices: which of the tune images; all by default.
        estimate: what is evaluated; the method's `forward` by default.

    Raises:
        UserError: the method gives no images.
    """
    total = torch.zeros(2, dtype=torch.float64)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for index in range(len(tune)) if indices is None else indices:
            x, y, physics = patches.tune_batch(tune, problem, index, device)
            torch.manual_seed(0)
            found = method(y, physics) if estimate is None else estimate(method, y, physics)
            found = outputs.check(found, y, x.shape, method)
            x_hat, x = (patches.compared(each, problem) for each in (found, x))
            mse = (x_hat.double() - x.double()).square().mean().item()
            ssim = similarity(x_hat, x).item() if min(x.shape[-2:]) >= WINDOW else math.nan
            psnr = -10 * math.log10(max(mse, 1e-10)) if math.isfinite(mse) else math.nan
            total += torch.tensor([psnr, ssim], dtype=torch.float64)
    return total


def quality(
    method: Method,
    tune: Images,
    problem: Problem,
    device: torch.device,
    estimate: Estimate | None = None,
) -> Quality:
    """Mean PSNR and SSIM over the tune images; arguments as for `sums`."""
    total = sums(method, tune, problem, device, estimate=estimate)
    return Quality(*(total / len(tune)).tolist())
