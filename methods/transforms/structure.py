"""The structure of an operator: what of it is a product, pixel by pixel or in the Fourier domain.

    blur            A x = F^-1 h F x                    for a circular boundary
    identity        A x = x, a blur with h = 1
    downsampling    A x = S F^-1 h F x                  S keeps every s-th pixel of every s-th row
    inpainting      A x = m x
    mri             A x = m F x,  A^T A has the eigenvalues 0 and 1
    ct              A^T A x ~ F^-1 (c / |f|) F x        1 / |f| is the inverse of the ramp filter

A composition of blurs is a blur, and one of blurs followed by S downsampling.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from deepinv.physics import MRI, Blur, BlurFFT, Denoising, Downsampling, Inpainting
from deepinv.physics.forward import ComposedPhysics
from deepinv.physics.functional import filter_fft
from torch import Tensor

from challenge.data.physics.parallel_beam import ParallelBeam

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def parts(physics: LinearPhysics) -> list[LinearPhysics]:
    """The operators of a composition, the first one first; else the operator alone."""
    return list(physics.physics_list) if isinstance(physics, ComposedPhysics) else [physics]


def is_blur(physics: LinearPhysics) -> bool:
    """Whether the operator is a convolution, at any boundary, so that it has a kernel."""
    return isinstance(physics, Blur | BlurFFT)


def is_circular(physics: LinearPhysics) -> bool:
    """Whether the operator is a circular convolution, which the Fourier transform diagonalises."""
    return all(
        isinstance(each, BlurFFT | Denoising)
        or (isinstance(each, Blur) and each.padding == "circular")
        for each in parts(physics)
    )


def decimation(physics: LinearPhysics) -> int | None:
    """The factor s of a circular blur that is downsampled; None where it is something else."""
    *before, last = parts(physics)
    bare = isinstance(last, Downsampling) and last.filter is None
    return int(last.factor) if bare and all(map(is_circular, before)) else None


def likeness(physics: LinearPhysics, height: int, width: int) -> Tensor | float:
    """The spectrum of a convolution that is like A^T A without its blurs, to precondition with.

    The mean of A^T A over the pixels, a number or (1 | B, 1, 1, 1); of projections (1 | B, 1, H,
    W // 2 + 1).
    """
    found: Tensor | float = 1.0
    for each in parts(physics):
        if isinstance(each, ParallelBeam):
            found = found * each.likeness(height, width)
        elif isinstance(each, MRI):
            found = found * each.mask.mean((1, 2, 3), keepdim=True)
        elif isinstance(each, Inpainting):
            found = found * mask_of(each).mean((1, 2, 3), keepdim=True)
        elif isinstance(each, Downsampling):
            found = found / each.factor**2
    return found


def norm_squared(physics: LinearPhysics, like: Tensor) -> Tensor | float:
    """||A||^2 to 1 % of projections, (B, 1, 1, 1), whose scale is their own; else 1.

    Of a square image and V views that is 0.97 V / H to 1.05 V / H, less of other ones.

    Args:
        physics: the operator.
        like: images, shape (B, C, H, W).
    """
    if not isinstance(physics, ParallelBeam):
        return 1.0
    # A^T A has no negative numbers, hence an eigenvector without them, which is near a constant.
    x = torch.ones_like(like[:, :1])
    for _ in range(5):
        x = physics.A_adjoint(physics.A(x))
        x = x / x.amax((1, 2, 3), keepdim=True)
    seen, whole = (each.square().sum((1, 2, 3), keepdim=True) for each in (physics.A(x), x))
    found: Tensor = seen / whole
    return found


def mask_of(physics: Inpainting | MRI) -> Tensor:
    """The mask, (1 | B, 1 | C, H, W); deepinv takes it with fewer dimensions too."""
    mask: Tensor = physics.mask
    return mask.reshape((1,) * (4 - mask.dim()) + mask.shape)


def measured_share(physics: LinearPhysics) -> Tensor | float:
    """1 where a number is measured, else 0, in the shape of y; 1 where all are."""
    last = parts(physics)[-1]
    return mask_of(last) if isinstance(last, Inpainting | MRI) else 1.0


def alone(physics: LinearPhysics, index: int, count: int) -> LinearPhysics:
    """A copy of the operator of one image out of a batch.

    Args:
        physics: the operator, whose parameters have a leading size of 1 or `count`.
        index: of the image.
        count: images of the batch.
    """
    found = copy.deepcopy(physics)
    if count > 1:
        for module in found.modules():
            for name, value in module._buffers.items():
                if value is not None and value.dim() and len(value) == count:
                    module._buffers[name] = value[index : index + 1].clone()
    return found


def sampling(physics: LinearPhysics) -> Tensor | None:
    """Of `mri` m on the grid of `fft2`, (1 | B, 1, H, W); None of all else.

    The shifts of images that bring frequency 0 to the middle are phases, which A^T A does not see.
    """
    if not isinstance(physics, MRI):
        return None
    mask = mask_of(physics)
    if mask.shape[1] > 1 and not bool((mask == mask[:, :1]).all()):
        return None
    found: Tensor = torch.fft.ifftshift(mask[:, :1], dim=(-2, -1))
    return found


def treats_colours_alike(physics: LinearPhysics) -> bool:
    """Whether all channels go through one operator, so that they may be taken in another basis."""
    return not any(
        (isinstance(each, Inpainting) and mask_of(each).shape[1] > 1)
        or (is_blur(each) and _kernel(each).shape[1] > 1)
        for each in parts(physics)
    )


def transfer_function(physics: LinearPhysics, height: int, width: int) -> Tensor | None:
    """Transfer function of all the operator's blurs, were they circular.

    Complex, of shape (1 | B, 1 | C, H, W // 2 + 1). None where there is no blur, or one that sees
    what an operator before it has masked or thinned out: |h|^2 is then no bound of A^T A.
    """
    found: Tensor | None = None
    untouched = True
    for each in parts(physics):
        if is_blur(each):
            if not untouched:
                return None
            size = (1, height, width)
            h: Tensor = filter_fft(_kernel(each), size, dims=(-2, -1), real_fft=True)
            found = h if found is None else found * h
        elif not isinstance(each, Denoising):
            untouched = False
    return found


def _kernel(physics: LinearPhysics) -> Tensor:
    """A blur's kernel, (1 | B, 1 | C, k, k): one channel where all have the same."""
    kernel: Tensor = physics.filter
    if kernel.shape[1] > 1 and bool((kernel == kernel[:, :1]).all()):
        kernel = kernel[:, :1]  # deepinv repeats one kernel for every colour
    return kernel
