"""The layers of a method, as they run on one measurement: parameters, multiplications, calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from challenge.data.challenges.challenge import Challenge
    from challenge.methods.contract import Method

MASS = 0.99
"""Of the squared influence on a pixel, within the square that is told."""


@dataclass(frozen=True)
class Layer:
    """A module without modules of its own, or what a module holds beside those."""

    place: str
    """Its name in the method: `net.0.conv`."""
    kind: str
    settings: str
    """Such as `3 -> 32, 3x3`."""
    parameters: int
    calls: int
    """In one reconstruction; 0: its weights are used without it."""
    output: str
    """Shape of what it returned last, without the batch: `32 x 64 x 64`."""
    macs: int
    """Multiplications with additions of all calls, for each pixel of the image."""


@dataclass(frozen=True)
class Anatomy:
    """A method taken apart."""

    layers: tuple[Layer, ...]
    macs: int
    """Of a reconstruction, for each pixel, outside of layers too."""
    side: int
    """Pixels of a side of the image it was counted on."""
    influence: NDArray[np.float64] | None
    """|d x_hat(c) / d y|, (H, W), of the pixel c in the middle; None where it has no derivative."""
    reach: int | None
    """Side of the square about c with 99 % of the squared influence; None where y is no image."""


def dissect(method: Method, challenge: Challenge) -> Anatomy:
    """Run a method on the centre of one val image, and count.

    Args:
        method: with its weights, on the processor.
        challenge: whose operator it takes.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from challenge.data.physics import families
    from challenge.submissions.reports.scenes import scene_of, side_of

    asked, _ = side_of(challenge, None)
    scene = scene_of(challenge, challenge.ids("val")[0], max(asked, challenge.problem.smallest))
    side = scene.image.shape[-1]
    method.eval()
    calls, outputs = Counter[str](), dict[str, str]()
    hooks = []
    for name, module in method.named_modules():
        hooks.append(module.register_forward_hook(_counted(name, calls, outputs)))
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mm: _product})
    torch.manual_seed(0)
    try:
        with torch.no_grad(), counter:
            method(scene.y, scene.data.physics)
    finally:
        for hook in hooks:
            hook.remove()
    root = type(method).__name__
    flops = {
        name.removeprefix(f"{root}."): sum(found.values())
        for name, found in counter.get_flop_counts().items()
    }
    layers = tuple(_layers(method, calls, outputs, flops, side**2))
    total = int(counter.get_total_flops()) // 2 // side**2
    influence = _influence(method, scene.y, scene.data.physics)
    # A sinogram or frequencies of an image have no pixel to be near to.
    whole = families.of(challenge.problem.operator).whole
    reach = None if influence is None or whole else _reach(influence)
    return Anatomy(layers, total, side, influence, reach)


def _product(a: Any, b: Any, *args: Any, out_val: Any = None, **kwargs: Any) -> int:
    """FLOPs of a matrix product; 0 of a sparse one, which is the operator's."""
    from torch import strided

    if a.layout is not strided or b.layout is not strided:
        return 0
    return 2 * int(a.shape[0] * a.shape[1] * b.shape[1])


_product._get_raw = True  # type: ignore[attr-defined]  # tensors, where shapes are usual


def _counted(
    name: str, calls: Counter[str], outputs: dict[str, str]
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        calls[name] += 1
        shape = getattr(output, "shape", None)
        if shape is not None:
            outputs[name] = " x ".join(map(str, shape[1:]))

    return hook


def _layers(
    method: nn.Module,
    calls: Counter[str],
    outputs: dict[str, str],
    flops: dict[str, int],
    pixels: int,
) -> Iterator[Layer]:
    for name, module in method.named_modules():
        own = sum(each.numel() for each in module.parameters(recurse=False))
        children = any(True for _ in module.children())
        if children and not own:
            continue
        macs = 0 if children else flops.get(name, 0) // 2 // pixels
        yield Layer(
            name or "(itself)",
            type(module).__name__,
            settings_of(module),
            own,
            calls[name],
            outputs.get(name, ""),
            macs,
        )


def settings_of(module: nn.Module) -> str:
    """What a layer is made with, short: `3 -> 32, 3x3, stride 2`."""
    ends = [getattr(module, f"{word}_channels", None) for word in ("in", "out")]
    if None in ends:
        ends = [getattr(module, f"{word}_features", None) for word in ("in", "out")]
    parts = [] if None in ends else [f"{ends[0]} -> {ends[1]}"]
    kernel = getattr(module, "kernel_size", None)
    if isinstance(kernel, tuple):
        parts.append("x".join(map(str, kernel)))
    for word in ("stride", "dilation", "groups"):
        value = getattr(module, word, 1)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int) and value != 1:
            parts.append(f"{word} {value}")
    return ", ".join(parts)


def _influence(method: Method, y: Tensor, physics: Any) -> NDArray[np.float64] | None:
    """None where the estimate does not depend on y in a way that can be differentiated."""
    import torch

    seen = y.clone().requires_grad_(True)
    torch.manual_seed(0)
    with torch.enable_grad():
        try:
            x_hat = method(seen, physics)
            if not x_hat.requires_grad:
                return None
            middle = x_hat[0, :, x_hat.shape[-2] // 2, x_hat.shape[-1] // 2].sum()
            (slope,) = torch.autograd.grad(middle, seen, allow_unused=True)
        except Exception:
            return None  # such as: a step of it has no derivative, or an iteration diverges
    if slope is None or slope.ndim != 4 or not bool(torch.isfinite(slope).all()):
        return None
    found: NDArray[np.float64] = slope[0].abs().double().sum(dim=0).numpy()
    return found if found.any() else None


def _reach(influence: NDArray[np.float64]) -> int:
    """The smallest odd side of a square about the strongest pixel with `MASS` of the squares."""
    power = np.square(influence)
    row, column = np.unravel_index(int(power.argmax()), power.shape)
    rows = np.abs(np.arange(power.shape[0]) - row)
    columns = np.abs(np.arange(power.shape[1]) - column)
    distance = np.maximum(rows[:, None], columns)
    within = np.cumsum(np.bincount(distance.ravel(), power.ravel()))
    return 2 * int(np.searchsorted(within, MASS * within[-1])) + 1
