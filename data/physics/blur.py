"""Blurs: deepinv's, one per boundary rule.

    A x = k * x, a true convolution

circular: the image repeats; valid: only pixels whose window lies inside, so y is smaller;
reflect: mirrored about the centre of the border pixel, `d c b | a b c d | c b a`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data.physics import kernels
from challenge.data.physics.family import Arrays, Family, Notice, Parameters, Shape

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics
    from torch import Tensor

BOUNDARIES = ("circular", "valid", "reflect")


class Blur(Family[schema.Blur]):
    """A x = k * x; every image draws one of the challenge's kernels."""

    example = {"kind": "blur", "kernel": {"kind": "gaussian", "std": 1.0}}

    def load(
        self, config: schema.Blur, shape: Shape, source: Path | None, notice: Notice
    ) -> Arrays:
        return {"kernels": kernels.build(config.kernel, source, notice)}

    def published(self, config: schema.Blur) -> schema.Blur:
        return config.model_copy(update={"kernel": published_kernel(config.kernel)})

    def draw(
        self, config: schema.Blur, arrays: Arrays, shape: Shape, generator: np.random.Generator
    ) -> Parameters:
        return {"kernel": one_of(arrays["kernels"], generator), "boundary": config.boundary}

    def build(self, parameters: Parameters, shape: Shape) -> LinearPhysics:
        return convolution(parameters["kernel"][:, None], parameters["boundary"], shape)

    def border(self, config: schema.Blur, arrays: Arrays) -> int:
        return arrays["kernels"].shape[-1] // 2 if config.boundary == "valid" else 0

    def smallest(self, config: schema.Blur, arrays: Arrays) -> int:
        side: int = arrays["kernels"].shape[-1]
        return side

    def measured(self, parameters: Parameters, shape: Shape) -> Shape:
        channels, height, width = shape
        valid = parameters["boundary"] == "valid"
        lost = len(parameters["kernel"]) - 1 if valid else 0
        return channels, height - lost, width - lost

    def wrong(self, parameters: Parameters, shape: Shape) -> str:
        if parameters["boundary"] not in BOUNDARIES:
            return f"unknown boundary `{parameters['boundary']}`"
        return wrong_kernel(parameters["kernel"])

    def portrait(self, parameters: Parameters) -> tuple[NDArray[np.float32], str]:
        return portrait_of(parameters["kernel"])


def one_of(arrays: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """One of several arrays (N, ...), each as likely as the others."""
    chosen: NDArray[np.float32] = arrays[int(generator.integers(len(arrays)))]
    return chosen


def published_kernel(kernel: Any) -> Any:
    """A kernel's section without the folder of its file."""
    if kernel.kind == "file":
        return kernel.model_copy(update={"file": Path(kernel.file).name})
    return kernel


def wrong_kernel(kernel: object) -> str:
    """What is wrong with a stored kernel, which is square, odd and finite; empty if nothing."""
    if not isinstance(kernel, np.ndarray) or kernel.dtype != np.float32 or kernel.ndim != 2:
        described = getattr(kernel, "dtype", type(kernel).__name__), getattr(kernel, "shape", ())
        return f"`kernel` is {described[0]} with shape {described[1]}"
    if not np.isfinite(kernel).all():
        return "`kernel` has values that are not finite"
    if kernel.shape[1] != kernel.shape[0] or kernel.shape[0] % 2 == 0:
        return f"the kernel has shape {kernel.shape}, not square and odd"
    if not kernel.any():
        return "the kernel is zero"
    return ""


def portrait_of(kernel: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """A kernel as a picture, its largest value white."""
    side = len(kernel)
    return kernel.clip(0) / kernel.max(), f"kernel {side}x{side}"


def convolution(kernel: Tensor, boundary: str, shape: Shape) -> LinearPhysics:
    """Build the convolutions of a batch, on the device and with the dtype of `kernel`.

    Args:
        kernel: shape (1, 1, k, k) or (B, 1, k, k), k odd; one for all images or one each.
        boundary: `circular`, `valid` or `reflect`.
        shape: (C, H, W) of the image x.

    Raises:
        UserError: if the kernel is larger than the image.
    """
    from deepinv.physics import Blur, BlurFFT

    side, (channels, height, width) = kernel.shape[-1], shape
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
    return physics


def blur(
    kernel: Tensor, sigma: float | Tensor, boundary: str, image_shape: tuple[int, int, int]
) -> LinearPhysics:
    """A convolution with Gaussian noise; arguments as for `convolution`.

    Args:
        sigma: noise level, a number or shape (1,) or (B,), in units of the range [0, 1].
    """
    import torch
    from deepinv.physics import GaussianNoise

    physics = convolution(kernel, boundary, image_shape)
    # Always shape (1,) or (B,): every parameter of a physics has leading size 1 or B.
    level = torch.as_tensor(sigma, dtype=kernel.dtype, device=kernel.device).reshape(-1)
    physics.noise_model = GaussianNoise(sigma=level)
    return physics
