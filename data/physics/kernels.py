"""Blur kernels: built from a formula, or read from a file, and brought into one form.

gaussian    k(r) ~ exp(-|r|^2 / (2 std^2)), cut at 4 std
uniform     k = 1 / size^2 on a square
disk        k ~ the area of each pixel inside the circle of the given radius
motion      random camera shake, see `motion`
file        as stored (see `kernel_files`)

The form: non-negative, sums to 1, odd square, all of a challenge padded to one size. Free of
torch. Those of downsampling by a factor f, which may be negative, are centred on f x f pixels:

bicubic     k(r) ~ w(r_1 / f) w(r_2 / f),   w Keys' cubic with a = -1/2 (Keys 1981)
box         k = 1 / f^2 on these pixels
gaussian    k(r) ~ exp(-|r|^2 / (2 std^2)), cut at 4 std
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs import loader
from challenge.configs.errors import Mistake, UserError
from challenge.configs.schema.physics import (
    BicubicKernel,
    BoxKernel,
    DiskKernel,
    Downsampling,
    FileKernel,
    GaussianKernel,
    Kernel,
    MotionKernel,
    UniformKernel,
)
from challenge.data.physics import kernel_files
from challenge.data.physics.camera_shake import camera_shake

Notice = Callable[[str], None]
_MARGIN = 4
_SMALLEST = 3  # deepinv warns at a 1x1 kernel, which is no blur anyway


def build(config: Kernel, source_path: Path | None, notice: Notice) -> NDArray[np.float32]:
    """Build the kernels of a challenge.

    Args:
        config: the section `operator.kernel`.
        source_path: the YAML file; a kernel file is searched beside it first.
        notice: called with what was changed (padded, normalised), in one line.

    Returns:
        Shape (N, k, k), k odd, each kernel sums to 1.

    Raises:
        UserError: for a file that holds no kernels, and for every kernel that is none.
    """
    match config:
        case FileKernel():
            path = loader.find_file(config.file, source_path)
            arrays = kernel_files.read(path, notice)
            if config.pick is not None:
                if config.pick >= len(arrays):
                    raise UserError.of(
                        path,
                        f"has no kernel `{config.pick}`",
                        f"pick one of 0 to {len(arrays) - 1}",
                    )
                arrays = [arrays[config.pick]]
            return normalised_stack(arrays, str(path), notice)
        case GaussianKernel(std=std):
            return normalised_stack([_gaussian(std)], "kernel", notice)
        case UniformKernel(size=size):
            return normalised_stack([np.full((size, size), size**-2.0)], "kernel", notice)
        case DiskKernel(radius=radius):
            return normalised_stack([_disk(radius)], "kernel", notice)
        case MotionKernel():
            size = config.size + 1 - config.size % 2
            if size != config.size:
                notice(f"kernel: size `{config.size}` is even, made {size}")
            return normalised_stack(list(camera_shake(size, config.count, config.seed)), "", notice)


def build_downsampling(
    config: Downsampling, source_path: Path | None, notice: Notice
) -> NDArray[np.float32]:
    """Build the kernels of a section `operator:` that downsamples; see `build`."""
    factor = config.factor
    match config.kernel:
        case FileKernel():
            return build(config.kernel, source_path, notice)
        case GaussianKernel(std=std):
            return _stretched(lambda r: np.exp(-0.5 * (r / std) ** 2), _MARGIN * std, factor)
        case BoxKernel():
            return _stretched(lambda r: 1.0 * (np.abs(r) < factor / 2), factor / 2, factor)
        case BicubicKernel():
            return _stretched(lambda r: _cubic(np.abs(r) / factor), 2 * factor, factor)


def _stretched(
    profile: Callable[[NDArray[Any]], NDArray[Any]], reach: float, factor: int
) -> NDArray[np.float32]:
    """profile(r_1) profile(r_2), |r_i| <= reach, about the centre of factor x factor pixels."""
    middle = (factor - 1) / 2
    half = int(np.ceil(reach + middle))
    # The pixel at distance d of the kept one lies at d - middle; a convolution runs backwards.
    r = -np.arange(-half, half + 1) - middle
    values = np.where(np.abs(r) <= reach, profile(r), 0.0)
    kernel = np.outer(values, values)
    normalised: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)[None]
    return normalised


def _cubic(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution with a = -1/2, of r >= 0."""
    inner = (1.5 * r - 2.5) * r**2 + 1
    outer = ((-0.5 * r + 2.5) * r - 4) * r + 2
    return np.where(r <= 1, inner, np.where(r < 2, outer, 0.0))


def normalised_stack(
    arrays: list[NDArray[np.float64]], place: str, notice: Notice
) -> NDArray[np.float32]:
    """Check kernels, pad them to one odd square and normalise them: (N, k, k), float32."""
    _refuse(arrays, place)
    sums = np.array([array.sum() for array in arrays])
    if (off := np.abs(sums - 1) > 1e-4).any():
        notice(
            f"{place}: {_which(off)} sums to {sums[off][0]:.4g}, not to 1, and is normalised"
            if off.sum() == 1
            else f"{place}: {_which(off)} do not sum to 1 and are normalised"
        )
    even = np.array([0 in (np.array(array.shape) % 2) for array in arrays])
    if even.any():
        shape = "x".join(map(str, arrays[int(even.argmax())].shape))
        notice(
            f"{place}: {_which(even)} {'has' if even.sum() == 1 else 'have'} an even size "
            f"({shape}), padded with zeros at the bottom and right to an odd one"
        )
    odd = [_pad_odd(array / total) for array, total in zip(arrays, sums, strict=True)]
    side = max(_SMALLEST, *(max(array.shape) for array in odd))
    return np.stack([_pad_centred(array, side) for array in odd]).astype(np.float32)


def _refuse(arrays: list[NDArray[np.float64]], place: str) -> None:
    mistakes = []
    for index, array in enumerate(arrays):
        name = "the kernel" if len(arrays) == 1 else f"kernel {index}"
        if not np.isfinite(array).all():
            cause = f"{name} has values that are not finite"
        elif array.min() < -1e-7 * np.abs(array).max():  # less is rounding, of MATLAB say
            cause = f"{name} has negative values, down to {array.min():.3g}"
        elif array.sum() <= 0:
            cause = f"{name} sums to zero"
        else:
            continue
        mistakes.append(Mistake(place, cause, "a blur kernel is non-negative and sums to 1"))
    if mistakes:
        raise UserError(*mistakes)


def _which(mask: NDArray[np.bool_]) -> str:
    if len(mask) == 1:
        return "the kernel"
    if mask.sum() == 1:
        return f"kernel {int(mask.argmax())}"
    return f"{int(mask.sum())} of {len(mask)} kernels"


def _pad_odd(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zeros at the bottom and right: the centre stays at index k // 2, as in scipy.ndimage."""
    rows, columns = array.shape
    padded = np.pad(array, ((0, 1 - rows % 2), (0, 1 - columns % 2)))
    return np.maximum(padded, 0)


def _pad_centred(array: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    rows, columns = ((side - length) // 2 for length in array.shape)
    return np.pad(array, ((rows, rows), (columns, columns)))


def _gaussian(std: float) -> NDArray[np.float64]:
    half = max(1, int(np.ceil(_MARGIN * std)))
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / std) ** 2)
    kernel = np.outer(profile, profile)
    total: float = kernel.sum()
    return kernel / total


def _disk(radius: float, fine: int = 32) -> NDArray[np.float64]:
    """Each pixel counts the share of its fine x fine points that lie inside the circle."""
    half = int(np.ceil(radius - 0.5))
    centres = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = centres[:, None] ** 2 + centres[None, :] ** 2 <= radius**2
    side = 2 * half + 1
    kernel: NDArray[np.float64] = inside.reshape(side, fine, side, fine).mean(axis=(1, 3))
    total: float = kernel.sum()
    return kernel / total
