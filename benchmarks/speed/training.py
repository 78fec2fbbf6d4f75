"""Training and inference of the network: the loop against a bare one, bfloat16 against float32."""

from __future__ import annotations

import copy
import math
import statistics
import time
from typing import Any

import torch

from benchmarks.speed.timing import Result, paired
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.data.physics.problem import Problem
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.network import Network
from challenge.methods.networks.architectures import Net
from challenge.methods.training import optimisers, patches
from challenge.methods.training.loop import supervised
from challenge.methods.training.losses import mse
from challenge.methods.training.precision import autocast, cpu_has_bf16, for_fabric

CPU = torch.device("cpu")
FACTORS = {32: 2.0, 64: 3.0}
"""Promised speed of bfloat16 over float32, channels first, by width."""


def run(quick: bool) -> list[Result]:
    steps = 24 if quick else 120
    return [
        *_steps(steps),
        *_precision(3 if quick else 15),
        *_inference(5 if quick else 21),
        _loss_of_bf16(),
    ]


class _Beside(ToySession):
    """Between two steps of the loop, does the same step in a bare loop, and times both."""

    def __init__(self, problem: Problem, images: Images, train: TrainConfig) -> None:
        from lightning_fabric import Fabric

        from challenge.methods.training.mixed_precision import plugin

        super().__init__()
        mixed = plugin(for_fabric("auto", CPU), CPU)
        self.fabric = Fabric(accelerator="cpu", devices=1, plugins=[mixed])
        self.problem, self.images, self.train = problem, images, train
        torch.manual_seed(0)
        self.model = Network().train()
        self.adam = optimisers.build(self.model, train)
        self.number = 0
        self.data: list[float] = []
        self.bare: list[float] = []
        self.loop: list[float] = []
        self.left = math.nan

    def should_stop(self) -> bool:
        entered = time.perf_counter()
        self.loop.append(entered - self.left)
        x, y, physics = patches.batch(
            self.images, self.problem, self.train, self.number, self.seed, CPU
        )
        self.data.append(time.perf_counter() - entered)
        with autocast("auto", CPU):
            loss = mse(self.model(y, physics), x)
        loss.backward()
        self.adam.step()
        self.adam.zero_grad()
        self.number += 1
        self.left = time.perf_counter()
        self.bare.append(self.left - entered)
        return False


def _steps(count: int) -> list[Result]:
    # One kernel, as `deblur` has it.
    toy, images = toy_problem(), toy_images(side=160)
    problem = Problem.of_kernels(toy.arrays["kernels"][:1], 0.03)
    train = TrainConfig(steps=count, tune=1, evaluate=10**6, lr=1e-4)
    session = _Beside(problem, images, train)
    supervised(Network(), problem, images, train, session)
    # Loop i is entered after bare i - 1; the first ones allocate.
    pairs = list(zip(session.loop[6:], session.bare[5:], session.data[5:], strict=False))
    ratio = statistics.median(loop / bare for loop, bare, _ in pairs)
    share = statistics.median(data / bare for _, bare, data in pairs)
    detail = f"{1000 * statistics.median(bare for _, bare, _ in pairs):.0f} ms a step"
    return [
        Result(
            what="training step, the loop / a bare loop with the same model and data",
            measured=ratio,
            target=1.05,
            better="lower",
            unit="x",
            detail=detail,
        ),
        Result(
            what="share of a training step that waits for patches and measurements",
            measured=100 * share,
            target=5.0,
            better="lower",
            unit="%",
            detail=f"batch {train.batch}, patch {train.patch}",
        ),
    ]


def _precision(pairs: int) -> list[Result]:
    """Whole training steps, data included: bfloat16 channels-last against plain float32."""
    if not cpu_has_bf16():
        return []
    toy, images = toy_problem(), toy_images(side=160)
    problem = Problem.of_kernels(toy.arrays["kernels"][:1], 0.03)
    train = TrainConfig(steps=1, lr=1e-4)
    results = []
    for width in FACTORS:

        def stepper(precision: str, layout: torch.memory_format, width: int = width) -> Any:
            torch.manual_seed(0)
            model = Network(net=Net(width=width)).train().to(memory_format=layout)
            optimiser = optimisers.build(model, train)

            def step() -> None:
                x, y, physics = patches.batch(images, problem, train, 0, 0, CPU)
                with autocast(precision, CPU):  # type: ignore[arg-type]
                    loss = mse(model(y, physics), x)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()

            return step

        slow = stepper("float32", torch.contiguous_format)
        fast = stepper("bf16", torch.channels_last)
        ratio, first, second = paired(slow, fast, pairs, warm_up=3)
        results.append(
            Result(
                what=f"training step at width {width}, float32 channels first / bfloat16",
                measured=ratio,
                target=2.0,
                better="higher",
                unit="x",
                detail=f"{train.batch / first:.0f} / {train.batch / second:.0f} images a second",
            )
        )
    return results


@torch.no_grad()
def _inference(pairs: int) -> list[Result]:
    if not cpu_has_bf16():
        return []
    results = []
    for width, factor in FACTORS.items():
        torch.manual_seed(0)
        fast = Network(net=Net(width=width)).eval().net
        slow = copy.deepcopy(fast).to(memory_format=torch.contiguous_format)
        x = torch.rand(1, 10, 256, 256)

        def bf16(net: torch.nn.Module = fast, x: torch.Tensor = x) -> None:
            with autocast("bf16", CPU):
                net(x).float()

        ratio, first, second = paired(lambda net=slow, x=x: net(x), bf16, pairs, warm_up=2)
        results.append(
            Result(
                what=f"network inference at width {width}, float32 channels first / bfloat16",
                measured=ratio,
                target=factor,
                better="higher",
                unit="x",
                detail=f"{1000 * first:.0f} ms / {1000 * second:.0f} ms, 3x256x256",
            )
        )
    return results


@torch.no_grad()
def _loss_of_bf16() -> Result:
    """PSNR between the two precisions after a short training."""
    problem, images = toy_problem(), toy_images(8, side=160)
    method = Network()
    train = TrainConfig(steps=40, batch=4, tune=4, evaluate=40)
    with torch.enable_grad():
        method.fit(problem, images, train, ToySession())
    found = {}
    for precision in ("float32", "bf16"):
        method.precision = precision  # type: ignore[assignment]
        errors = []
        for index in range(len(images)):
            x, y, physics = patches.tune_batch(images, problem, index, CPU)
            errors.append(-10 * math.log10((method(y, physics) - x).square().mean().item()))
        found[precision] = statistics.mean(errors)
    return Result(
        what="PSNR that bfloat16 costs",
        measured=abs(found["float32"] - found["bf16"]),
        target=0.01,
        better="lower",
        unit="dB",
        detail=f"{found['bf16']:.3f} dB after 40 steps on toy images",
    )
