"""Fewer bits where they cost nothing: bfloat16 to compute in, float16 to store weights in.

bfloat16 has float32's range and 8 bits of precision. Convolutions read and write it and add up
in float32; weights, loss and optimiser stay float32. A processor without such instructions
emulates it and is slower than in float32, hence the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from challenge.configs.errors import UserError

Precision = Literal["auto", "float32", "bf16"]
"""Of inference."""
Training = Literal["auto", "float32", "bf16", "fp16"]
"""Of training."""
Named = Literal["bf16-mixed", "16-mixed", "32-true"]
"""Lightning Fabric's names."""

BF16_COST = FLOAT16_COST = 0.01
"""What fewer bits may cost, in dB on the tune part."""
UNKNOWN = -1.0
"""`bf16_cost` before it was measured."""


class InferencePrecision(nn.Module):
    """The precision in which a method's networks compute at inference; a method holds one.

    `auto` is float32 until bfloat16 was seen to cost next to nothing, which travels with the
    weights as `bf16_cost`, in dB. While a method trains, Lightning Fabric's precision rules.
    """

    bf16_cost: Tensor

    def __init__(self, wanted: Precision = "auto") -> None:
        super().__init__()
        self.wanted = wanted
        self.register_buffer("bf16_cost", torch.tensor(UNKNOWN))

    def forward(self, net: nn.Module, x: Tensor) -> Tensor:
        """net(x) in this precision, handed back in that of x."""
        with self.context(x.device):
            found: Tensor = net(x)
        return found.to(x.dtype)

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """This precision as a context; what comes out may be bfloat16: convert it."""
        if self.training:
            return nullcontext()
        return autocast("bf16" if self.rounds(device) else "float32", device)

    def rounds(self, device: torch.device) -> bool:
        """Whether networks compute in bfloat16 at inference on a device."""
        if self.wanted == "auto" and not UNKNOWN < float(self.bf16_cost) <= BF16_COST:
            return False
        return uses_bf16(self.wanted, device)

    def forget(self) -> None:
        """What bfloat16 costs is unknown again, as for new weights."""
        self.bf16_cost.fill_(UNKNOWN)

    @contextmanager
    def fixed(self, precision: Precision) -> Iterator[None]:
        """Another precision for the length of a `with` block."""
        before, self.wanted = self.wanted, precision
        try:
            yield
        finally:
            self.wanted = before

    def measure(self, psnr: Callable[[], float]) -> float:
        """Store what bfloat16 costs; returned in dB, below 0 where it gains.

        Args:
            psnr: evaluates the method as it is, in dB.
        """
        with self.fixed("float32"):
            exact = psnr()
        with self.fixed("bf16"):
            cost = exact - psnr()
        self.bf16_cost.fill_(max(cost, 0.0))
        return cost


def share_precision(nets: nn.Module, precision: InferencePrecision) -> None:
    """Let methods that are parts of another one compute in that one's precision.

    What bfloat16 cost each by itself says nothing of what it costs all together.
    """
    for each in nets.modules():
        if isinstance(getattr(each, "compute", None), InferencePrecision):
            each.compute = precision


@cache
def cpu_has_bf16() -> bool:
    """Whether this processor has AVX512-BF16 or AMX and torch's convolutions use them."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return found and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Resolve `precision` on a device; `auto` is bf16 where the hardware has it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_bf16()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a network computes: bf16 convolutions, or float32 untouched.

    Tensors that the network is given and parameters stay float32; what comes out may be
    bfloat16, so convert it with `.float()` before it meets other tensors.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


def for_fabric(precision: Training, device: torch.device) -> Named:
    """The name Lightning Fabric has for `precision` on a device.

    Raises:
        UserError: fp16 on a CPU, which has no instructions for it.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError.of(
            "`train.precision`", "`fp16` is for GPUs", "give `bf16`, `float32` or `auto`"
        )
    if precision == "fp16":
        return "16-mixed"
    return "bf16-mixed" if uses_bf16(precision, device) else "32-true"


@torch.no_grad()
def halve(method: nn.Module, psnr: Callable[[], float]) -> float:
    """Round parameters to float16 unless that costs more than 0.01 dB; what it would cost, in dB.

    They stay float32 tensors; a run stores a tensor of such values in half its bytes.

    Args:
        method: whose parameters are rounded, in place.
        psnr: evaluates the method as it is, in dB.
    """
    before = psnr()
    exact = [parameter.clone() for parameter in method.parameters()]
    for parameter in method.parameters():
        parameter.copy_(parameter.half())
    cost = before - psnr()
    if not cost <= FLOAT16_COST:
        for parameter, value in zip(method.parameters(), exact, strict=True):
            parameter.copy_(value)
    return cost
