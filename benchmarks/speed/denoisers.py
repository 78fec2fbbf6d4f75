"""A pass of a denoiser's network beside the same module of deepinv with equal weights.

    python -m benchmarks denoisers [--quick]

Published shapes, one image of 3x256x256, sigma 25/255, no gradients.
Ours is channels-last in bfloat16, what `precision: auto` takes where that was seen to cost next to
nothing; deepinv's is as it is made, channels first in float32. In float32 both are one function,
which is checked first. What bfloat16 costs is measured on narrower networks that were trained for
a moment on toy images: with random weights a PSNR says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from deepinv import models
from torch import Tensor, nn

from benchmarks.speed.timing import Result, paired
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.plug_and_play import published
from challenge.methods.plug_and_play.denoisers import denoise
from challenge.methods.plug_and_play.dncnn import DnCNN
from challenge.methods.plug_and_play.drunet import DRUNet
from challenge.methods.plug_and_play.ffdnet import FFDNet
from challenge.methods.training.evaluation import quality
from challenge.methods.training.precision import InferencePrecision, cpu_has_bf16

SIDE = 256
SIGMA = 25 / 255
FASTER = 1.6
COST = 0.01
"""dB."""
SAME = 1e-4
"""Largest difference of two estimates in float32."""
CPU = torch.device("cpu")


class Beside(NamedTuple):
    """A denoiser in its published shape, and what it is compared with."""

    method: Callable[[], Method]
    peer: Callable[[], nn.Module]
    names: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    """The peer's weights as ours are named."""
    narrow: Callable[[], Method]
    """Quick to train."""


DENOISERS = {
    "drunet": Beside(
        DRUNet,
        lambda: models.DRUNet(pretrained=None),
        dict,
        lambda: DRUNet(width=16, depth=2, blocks=2, predicts="noise"),
    ),
    "ffdnet": Beside(
        FFDNet,
        lambda: models.FFDNet(n_conv_layers=12, nf=96, img_channels=3, pretrained=None),
        published.ffdnet_of_deepinv,
        lambda: FFDNet(width=48, predicts="noise"),
    ),
    "dncnn": Beside(
        DnCNN,
        lambda: models.DnCNN(pretrained=None),
        dict,
        lambda: DnCNN(width=32, depth=12),
    ),
}


def run(quick: bool) -> list[Result]:
    """Speed and cost of every denoiser; nothing where the processor has no bfloat16."""
    if not cpu_has_bf16():
        return []
    pairs, steps = (3, 20) if quick else (9, 80)
    results = []
    for name, beside in DENOISERS.items():
        results += [_speed(name, beside, pairs), _cost(name, beside, steps)]
    return results


@torch.no_grad()
def _speed(name: str, beside: Beside, pairs: int) -> Result:
    torch.manual_seed(0)
    method, peer = beside.method().eval(), beside.peer().eval()
    assert isinstance(net := method.net, nn.Module)
    net.load_state_dict(beside.names(peer.state_dict()))
    x, sigma = torch.rand(1, 3, SIDE, SIDE), torch.full((1,), SIGMA)
    compute = _precision(method)
    with compute.fixed("float32"):
        difference = (denoise(method, x, sigma) - peer(x, sigma)).abs().max().item()
    if not difference <= SAME:
        raise RuntimeError(f"{name} and deepinv's differ by {difference:.2g} with equal weights")
    with compute.fixed("bf16"):
        ratio, theirs, ours = paired(
            lambda: peer(x, sigma), lambda: denoise(method, x, sigma), pairs, warm_up=2
        )
    return Result(
        what=f"a pass of `{name}`, deepinv in float32 channels first / bfloat16",
        measured=ratio,
        target=FASTER,
        better="higher",
        unit="x",
        detail=f"{1000 * theirs:.0f} ms / {1000 * ours:.0f} ms, 3x{SIDE}x{SIDE}",
    )


def _cost(name: str, beside: Beside, steps: int) -> Result:
    """PSNR in both precisions after a short training."""
    problem = toy_problem(operator="identity", noise={"kind": "gaussian", "sigma": SIGMA})
    images = toy_images(8, side=160)
    method = beside.narrow()
    method.fit(
        problem, images, TrainConfig(steps=steps, batch=4, tune=4, evaluate=steps), ToySession()
    )
    found = {}
    for precision in ("float32", "bf16"):
        with _precision(method).fixed(precision):  # type: ignore[arg-type]
            found[precision] = quality(method.eval(), images, problem, CPU).psnr
    return Result(
        what=f"PSNR that bfloat16 costs `{name}`",
        measured=abs(found["float32"] - found["bf16"]),
        target=COST,
        better="lower",
        unit="dB",
        detail=f"{found['bf16']:.3f} dB after {steps} steps on toy images",
    )


def _precision(method: Method) -> InferencePrecision:
    compute = method.compute
    assert isinstance(compute, InferencePrecision)
    return compute
