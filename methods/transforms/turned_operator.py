"""An operator that is turned with its images: A_T T x = T A x for all x.

    blur            the kernel is turned, at every rule for the boundary
    inpainting      the mask is turned
    identity        stays
    downsampling    the kernel is turned, and moved by s - 1 along every axis that is reversed

S keeps the first pixel of every s of them, which is the last one where an axis is reversed: with
R the reversal, R S (k * x) = S (k' * R x), k'(m) = (R k)(m + s - 1). A composition is turned part
by part. Projections and Fourier samples (ct, mri) are not images, and are not turned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from deepinv.physics import Blur, BlurFFT, Denoising, Downsampling, Inpainting
from deepinv.physics.forward import ComposedLinearPhysics, ComposedPhysics
from torch import Tensor
from torch.nn.functional import pad

from challenge.configs.errors import UserError
from challenge.methods.transforms.structure import is_blur, mask_of, parts
from challenge.methods.transforms.symmetries import turn

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics

TURNS = ("blur", "identity", "inpainting", "downsampling", "compose")
"""The operator families that can be turned."""


def turned(physics: LinearPhysics, which: int) -> LinearPhysics:
    """The operator and its noise in the coordinates of `turn(x, which)`; itself for which = 0.

    Raises:
        UserError: it cannot be turned.
    """
    if which == 0:
        return physics
    steps = parts(physics)
    made = [
        _turned(each, which, _thinned_by(after))
        for each, after in zip(steps, [*steps[1:], None], strict=True)
    ]
    if isinstance(steps[0], Downsampling):
        raise _refusal("downsampling without a blur before it")
    together = ComposedLinearPhysics(*made) if isinstance(physics, ComposedPhysics) else made[0]
    together.noise_model = physics.noise_model
    return together


def _turned(each: LinearPhysics, which: int, factor: int) -> LinearPhysics:
    """One operator; `factor` is that of a downsampling right after it, else 1."""
    if factor > 1 and not is_blur(each):
        raise _refusal("downsampling without a blur before it")
    if is_blur(each):
        kernel = turn(each.filter, which)
        kernel = _moved(kernel, [(1 - factor) * each for each in _reversed(which)])
        if isinstance(each, BlurFFT):
            made = BlurFFT(img_size=_size(each, which), filter=kernel, device=kernel.device)
            made.img_size = _size(each, which)
            return made
        assert isinstance(each, Blur)
        return Blur(filter=kernel, padding=each.padding, use_fft=each.use_fft, device=kernel.device)
    if isinstance(each, Inpainting):
        mask = turn(mask_of(each), which).contiguous()
        return Inpainting(img_size=_size(each, which), mask=mask, device=mask.device)
    if isinstance(each, Downsampling) and each.filter is None:
        size = tuple(each.imsize)
        size = (size[0], *_sides(size[1:], which))
        return Downsampling(img_size=size, filter=None, factor=each.factor)
    if isinstance(each, Denoising):
        return Denoising()
    raise _refusal(f"`{type(each).__name__}`")


def _refusal(what: str) -> UserError:
    return UserError.of(
        "the operator",
        f"{what} cannot be turned with its image",
        f"operators that can: {', '.join(TURNS)}",
    )


def _thinned_by(physics: LinearPhysics | None) -> int:
    return int(physics.factor) if isinstance(physics, Downsampling) else 1


def _reversed(which: int) -> tuple[int, int]:
    """1 for each axis of the turned image that runs against one of the image, else 0."""
    place = int(turn(torch.arange(4).reshape(2, 2), which).flatten().argmin())
    return place // 2, place % 2


def _moved(kernel: Tensor, by: list[int]) -> Tensor:
    """A kernel (..., k, k) moved by some pixels, k larger by twice what it needs for that."""
    margin = max(map(abs, by))
    found = pad(kernel, (margin,) * 4).roll(by, (-2, -1))
    for _ in range(margin):
        inner = found[..., 1:-1, 1:-1]
        if int(inner.count_nonzero()) < int(found.count_nonzero()):
            break
        found = inner
    return found.contiguous()


def _size(physics: LinearPhysics, which: int) -> tuple[int, int, int]:
    channels, *sides = physics.img_size
    return (channels, *_sides(sides, which))


def _sides(sides: list[int] | tuple[int, ...], which: int) -> tuple[int, int]:
    height, width = sides
    return (width, height) if which % 2 else (height, width)
