"""The smooth phase of complex images, and images turned by it.

    p = G x / |G x|,     G x = F^-1 [ exp(-|f|^2 / (2 WIDTH^2)) F x ] + SHARE mean(x)

with f in cycles per image.

Phases of magnetic resonance are those of coils and fields and vary slowly, so that x conj(p) is
nearly real and not negative: half of the unknowns are about 0, and a frequency says what its
opposite one is. p is that of the frequencies about 0, which every mask has.

Noll, Nishimura, Macovski, Homodyne Detection in Magnetic Resonance Imaging, 1991.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)

WIDTH = 4.0
"""Of the window, in cycles per image."""
SHARE = 0.02
"""What frequency 0 weighs more than its window: in the black around an object, where G x is 0 or
noise, p is the phase of the mean then, and not undetermined."""


def smooth_phase(x: Tensor) -> Tensor:
    """p of complex images.

    Args:
        x: real and imaginary part, shape (B, 2, H, W).

    Returns:
        cos and sin of the phase, of that shape; that of 1 where the image is 0.
    """
    height, width = x.shape[-2:]
    rows = torch.fft.fftfreq(height, 1 / height, device=x.device)[:, None]
    columns = torch.fft.fftfreq(width, 1 / width, device=x.device)[None]
    window = torch.exp(-(rows.square() + columns.square()) / (2 * WIDTH**2)).to(x.dtype)
    window[0, 0] += SHARE
    smooth = torch.fft.ifft2(window * torch.fft.fft2(torch.complex(x[:, 0], x[:, 1])))
    parts = torch.stack([smooth.real, smooth.imag], dim=1)
    length = parts.square().sum(1, keepdim=True)
    one = torch.zeros_like(parts)
    one[:, 0] = 1
    there = length > torch.finfo(x.dtype).tiny
    return torch.where(there, parts * torch.where(there, length, 1.0).rsqrt(), one)


def seen(phase: bool | None, channels: int) -> bool:
    """Whether a method's networks see images turned by their smooth phase.

    Args:
        phase: its knob; None: where images are complex.
        channels: of its images, 2 where they are complex.

    Raises:
        UserError: asked for, and images have no phase.
    """
    if phase and channels != 2:
        raise UserError.of(
            "`method.phase`",
            "is not a knob of images that have no phase",
            "take it out; complex images are those of `channels: 2`",
        )
    return channels == 2 if phase is None else phase


def turn(x: Tensor, phase: Tensor) -> Tensor:
    """x p.

    Args:
        x: real and imaginary part in turns, of one or several images, shape (B, 2 n, H, W).
        phase: p, shape (B, 2, H, W).
    """
    a, b, c, s = x[:, ::2], x[:, 1::2], phase[:, :1], phase[:, 1:]
    return torch.stack([a * c - b * s, a * s + b * c], dim=2).flatten(1, 2)


def turn_back(x: Tensor, phase: Tensor) -> Tensor:
    """x conj(p), of shapes as in `turn`."""
    a, b, c, s = x[:, ::2], x[:, 1::2], phase[:, :1], phase[:, 1:]
    return torch.stack([a * c + b * s, b * c - a * s], dim=2).flatten(1, 2)


def seen_by(
    denoise: Callable[Concatenate[Tensor, Tensor, P], Tensor], x_0: Tensor, turned: bool
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """z -> p D(z conj(p), x_0 conj(p)), p the smooth phase of x_0; not turned, z -> D(z, x_0).

    Args:
        denoise: D, of z and x_0 and of what else is given with z.
        x_0: an estimate, shape (B, C, H, W), that of z.
        turned: whether D sees images without their phase.
    """
    phase = smooth_phase(x_0) if turned else None
    seen = x_0 if phase is None else turn_back(x_0, phase)

    def around(z: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if phase is None:
            return denoise(z, seen, *args, **kwargs)
        return turn(denoise(turn_back(z, phase), seen, *args, **kwargs), phase)

    return around


def plain(denoiser: M) -> M:
    """A copy of a denoiser for a method that turns images itself: it sees them as they are."""
    made = copy.deepcopy(denoiser)
    if hasattr(made, "turned"):
        setattr(made, "turned", False)  # noqa: B010 - a type of modules does not know the name
    return made
