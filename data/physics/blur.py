"""The forward operators: deepinv's blurs, one per boundary rule.

    A x = k * x, a true convolution;  y = A x + sigma n

circular: the image repeats; valid: only pixels whose window lies inside, so y is smaller;
reflect: mirrored about the centre of the border pixel, `d c b | a b c d | c b a`.
"""

from __future__ import annotations

import torch
from deepinv.physics import Blur, BlurFFT, GaussianNoise, LinearPhysics
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.data.physics.measurements import Measurement


def blur(
    kernel: Tensor,
    sigma: float | Tensor,
    boundary: str,
    image_shape: tuple[int, int, int],
) -> LinearPhysics:
    """Build the operator of a batch, on the device and with the dtype of `kernel`.

    Args:
        kernel: shape (1, 1, k, k) or (B, 1, k, k), k odd; one for all images or one each.
        sigma: noise level, a number or shape (1,) or (B,), in units of the range [0, 1].
        boundary: `circular`, `valid` or `reflect`.
        image_shape: (C, H, W) of the image x.

    Raises:
        UserError: if the kernel is larger than the image.
    """
    side, (channels, height, width) = kernel.shape[-1], image_shape
    if side > min(height, width):
        raise UserError.of(
            "kernel",
            f"its {side}x{side} pixels are larger than the image of {height}x{width}",
            "use larger images or a smaller kernel",
        )
    physics: LinearPhysics
    if boundary == "circular":
        # Told of one channel, BlurFFT keeps one spectrum per kernel and broadcasts it; told of
        # C channels it repeats the kernel and takes C times the time and memory to build.
        physics = BlurFFT(img_size=(1, height, width), filter=kernel, device=kernel.device)
        physics.img_size = (channels, height, width)
    elif boundary in ("valid", "reflect"):
        physics = Blur(filter=kernel, padding=boundary, use_fft=True, device=kernel.device)
    else:
        raise ValueError(f"unknown boundary {boundary!r}")
    # Always shape (1,) or (B,): every parameter of a physics has leading size 1 or B.
    level = torch.as_tensor(sigma, dtype=kernel.dtype, device=kernel.device).reshape(-1)
    physics.noise_model = GaussianNoise(sigma=level)
    return physics


def tensors(
    measurement: Measurement, device: torch.device | str = "cpu"
) -> tuple[Tensor, LinearPhysics]:
    """The measurement as a batch of one, shape (1, C, H', W'), with its operator."""
    y = torch.from_numpy(measurement.y.copy())[None].to(device)
    kernel = torch.from_numpy(measurement.kernel.copy())[None, None].to(device)
    return y, blur(kernel, measurement.sigma, measurement.boundary, measurement.shape)
