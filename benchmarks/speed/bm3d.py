"""BM3D beside the compiled binary of PyPI's `bm3d` and deepinv's version in torch.

    python -m benchmarks bm3d [--quick]

The peers are for this comparison only and not among the dependencies: `bm3d` may not be used
commercially. `pip install bm3d ptwt` in an environment of one's own; what is not installed is left
out, in words. Photographs of scikit-image, centre, 3x256x256, white noise that is not clipped,
float32, two threads, no gradients. The peers have their default settings, and the binary, which is
a program of its own, takes all the cores that it wants.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed.timing import Result, paired
from challenge.data.noise import normal
from challenge.methods.plug_and_play.bm3d import BM3D

SIDE = 256
THREADS = 2
LEVELS = (5, 25, 50)
"""Noise levels, of 255."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
Run = Callable[[Tensor, float], Tensor]


def photographs(number: int) -> Tensor:
    """Shape (number, 3, SIDE, SIDE)."""
    import skimage.data

    found = []
    for name in PHOTOGRAPHS[:number]:
        picture = getattr(skimage.data, name)()
        top, left = ((side - SIDE) // 2 for side in picture.shape[:2])
        crop = picture[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1).copy()
        found.append(torch.from_numpy(crop).float() / 255)
    return torch.stack(found)


def measured(x: Tensor, level: int) -> Tensor:
    """The photographs with noise of level/255."""
    return x + level / 255 * torch.from_numpy(normal(b"benchmark", "bm3d", level, x.shape))


def ours(y: Tensor, sigma: float) -> Tensor:
    """One image after the other, as the peers."""
    return BM3D().denoise(y, torch.full((1, 1, 1, 1), sigma))


def binary(y: Tensor, sigma: float) -> Tensor:
    """PyPI's `bm3d`, colours in its own opponent space."""
    from bm3d import bm3d, bm3d_rgb

    run = bm3d_rgb if y.shape[1] == 3 else bm3d
    found = [
        torch.from_numpy(run(image.permute(1, 2, 0).double().numpy(), sigma)).to(y) for image in y
    ]
    return torch.stack(found).reshape(len(y), *y.shape[2:], y.shape[1]).permute(0, 3, 1, 2)


def torch_peer(y: Tensor, sigma: float) -> Tensor:
    """deepinv's version in torch."""
    from deepinv.models import BM3D as Peer

    found: Tensor = Peer(use_legacy=False)(y, sigma)
    return found


def psnr(estimate: Tensor, x: Tensor) -> float:
    """Mean over the images, clipped to [0, 1], in dB."""
    errors = (estimate.clamp(0, 1) - x).square().mean((1, 2, 3))
    return float(-10 * errors.log10().mean())


def missing(*packages: str) -> bool:
    """Say what is not installed, if anything."""
    absent = [each for each in packages if importlib.util.find_spec(each) is None]
    if absent:
        print(f"left out: {' and '.join(absent)} not installed", file=sys.stderr)
    return bool(absent)


def run(quick: bool = False) -> list[Result]:
    """Speed and quality beside each peer that is installed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    results: list[Result] = []
    try:
        with torch.no_grad():
            if not missing("bm3d"):
                results.append(_speed("PyPI `bm3d`", binary, 3, 1 if quick else 3))
                levels = LEVELS[1:2] if quick else LEVELS
                results += [_below(level, 1 if quick else 3) for level in levels]
            if not missing("ptwt"):
                results.append(_speed("deepinv `BM3D`", torch_peer, 12, 1))
                results.append(_above(25, 1))
    finally:
        torch.set_num_threads(threads)
    return results


def _speed(name: str, peer: Run, target: float, pairs: int) -> Result:
    y = measured(photographs(1), 25)
    ratio, theirs, own = paired(
        lambda: peer(y, 25 / 255), lambda: ours(y, 25 / 255), pairs, warm_up=0 if pairs == 1 else 1
    )
    return {
        "what": f"BM3D, 3x{SIDE}x{SIDE}, beside {name}",
        "measured": ratio,
        "target": target,
        "better": "higher",
        "unit": "x faster",
        "detail": f"{own:.2f} s and {theirs:.2f} s",
    }


def _below(level: int, number: int) -> Result:
    own, theirs, what = _quality(binary, level, number)
    return {
        "what": f"BM3D, PSNR below PyPI `bm3d` at sigma {level}/255",
        "measured": theirs - own,
        "target": 0.1,
        "better": "lower",
        "unit": "dB",
        "detail": what,
    }


def _above(level: int, number: int) -> Result:
    own, theirs, what = _quality(torch_peer, level, number)
    return {
        "what": f"BM3D, PSNR above deepinv `BM3D` at sigma {level}/255",
        "measured": own - theirs,
        "target": 1,
        "better": "higher",
        "unit": "dB",
        "detail": what,
    }


def _quality(peer: Run, level: int, number: int) -> tuple[float, float, str]:
    """PSNR of ours and of the peer on so many photographs, and both in words."""
    x = photographs(number)
    y = measured(x, level)
    own, theirs = psnr(ours(y, level / 255), x), psnr(peer(y, level / 255), x)
    of = "a photograph" if number == 1 else f"{number} photographs"
    return own, theirs, f"{own:.2f} dB and {theirs:.2f} dB, {of}"
