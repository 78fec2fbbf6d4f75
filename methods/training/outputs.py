"""What a method's `forward` gives while it trains: images of the right kind, or one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from challenge.configs.errors import UserError
from challenge.methods.contract import Method


def check(found: object, y: Tensor, shape: Sequence[int], method: Method) -> Tensor:
    """`found` itself, where it is an estimate of images.

    Under autocast any floating type will do; else it is that of the measurements, float32.

    Args:
        found: what `forward` gave.
        y: the measurements that it was given, (B, C, H', W').
        shape: of the images, (B, C, H, W).
        method: whose `forward` it is.

    Raises:
        UserError: it is none; with what it is, what is wanted, and how to get there.
    """
    if not isinstance(found, Tensor):
        raise _refusal(method, f"returned {_kind(found)}", y, shape, _from_object(found))
    mixed = torch.is_autocast_enabled(y.device.type) and found.is_floating_point()
    for wrong, remedy in (
        (tuple(found.shape) != tuple(shape), _from_shape(found, y, shape)),
        (not (mixed or found.dtype == y.dtype), _from_dtype(found)),
        (found.device != y.device, "keep it on the measurements' device: `x_hat.to(y.device)`"),
    ):
        if wrong:
            got = f"{_name(found.dtype)} of shape {tuple(found.shape)} on {found.device}"
            raise _refusal(method, f"returned {got}", y, shape, remedy)
    return found


def place(method: Method) -> str:
    """Where the `forward` of a method stands: `method.py:12, Mine.forward`."""
    name = f"{type(method).__name__}.forward"
    code = getattr(getattr(type(method), "forward", None), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}, `{name}`" if code else f"`{name}`"


def _refusal(method: Method, cause: str, y: Tensor, shape: Sequence[int], remedy: str) -> UserError:
    wanted = f"{_name(y.dtype)} of shape {tuple(shape)} on {y.device}"
    return UserError.of(place(method), f"{cause}; wanted is {wanted}", remedy)


def _kind(found: object) -> str:
    if found is None:
        return "None"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found)}"
    return f"a {type(found).__module__}.{type(found).__name__}".replace("builtins.", "")


def _from_object(found: object) -> str:
    if found is None:
        return "end it with `return x_hat`"
    if type(found).__module__.partition(".")[0] == "numpy":
        return "compute with torch, or end with `return torch.from_numpy(x_hat).to(y)`"
    return "return the images alone: `return x_hat`"


def _from_shape(found: Tensor, y: Tensor, shape: Sequence[int]) -> str:
    batch, channels, height, width = shape
    got = tuple(found.shape)
    if got == (batch, height, width, channels):
        return "channels come before rows and columns: `x_hat.permute(0, 3, 1, 2)`"
    if got == (batch, channels, width, height):
        return "rows come before columns: `x_hat.transpose(2, 3)`"
    if got == tuple(shape[1:]) or got == (height, width):
        return "keep the dimensions of batch and channels: `x_hat[None]`"
    if got == tuple(y.shape):
        return "an image has the shape of `physics.A_adjoint(y)`, a measurement may have another"
    return "an estimate has the shape of `physics.A_adjoint(y)`"


def _from_dtype(found: Tensor) -> str:
    if found.is_complex():
        return "take its real part: `x_hat.real.float()`"
    if found.is_floating_point():
        return "convert it: `x_hat.float()`"
    return "images are floats in [0, 1]: `x_hat.float() / 255`, if these are bytes"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
