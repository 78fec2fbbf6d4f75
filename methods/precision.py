"""bfloat16 where it pays: on processors that multiply it faster than float32.

bfloat16 has float32's range and 8 bits of precision. Convolutions read and write it and add up
in float32; weights, loss and optimiser stay float32. A processor without such instructions
emulates it and is slower than in float32, hence the probe.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bf16"]


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


def for_fabric(precision: Precision, device: torch.device) -> Literal["bf16-mixed", "32-true"]:
    """The name Lightning Fabric has for `precision` on a device."""
    return "bf16-mixed" if uses_bf16(precision, device) else "32-true"
