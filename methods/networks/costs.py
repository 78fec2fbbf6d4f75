"""What a network costs and how far it sees: parameters, multiplications, receptive field."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIDE = 256
"""Side of the image on which multiplications are counted, in pixels."""
LONGEST = 1 << 11
"""Rows on which a receptive field is looked for; half of them are the largest that is found."""


class Facts(NamedTuple):
    """Numbers that a person compares networks by."""

    parameters: int
    macs_per_pixel: int
    """Multiplications with additions of convolutions and matrices, for each pixel of the image."""
    receptive_field: int | None
    """Side, in pixels, of the square of the input that one pixel of the output depends on; None
    where that is more than LONGEST / 2, such as the whole image."""


def describe(net: nn.Module, in_channels: int, narrow: nn.Module | None = None) -> Facts:
    """The facts of a network that maps (B, in_channels, H, W) to (B, C, H, W).

    Args:
        net: the network, on any device.
        in_channels: channels of its input.
        narrow: the same network with fewer features, which sees as far and is measured faster.
    """
    parameters = sum(parameter.numel() for parameter in net.parameters())
    field = receptive_field(narrow or net, in_channels)
    return Facts(parameters, macs(net, in_channels) // SIDE**2, field)


@torch.no_grad()
def macs(net: nn.Module, in_channels: int) -> int:
    """Multiplications with additions on an image of SIDE x SIDE pixels; nothing is computed."""
    meta = copy.deepcopy(net).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter:
        meta(torch.empty(1, in_channels, SIDE, SIDE, device="meta"))
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def receptive_field(net: nn.Module, in_channels: int) -> int | None:
    """Measure the receptive field: a nan in one row of the input spreads as far as it is seen.

    A network repeats itself every `multiple` pixels, so that so many rows show all of it. In
    float64, whose convolutions multiply each weight with each pixel and transform nothing.
    """
    exact = copy.deepcopy(net).to("cpu", torch.float64).eval()
    period = int(getattr(net, "multiple", 1))
    rows = min(16 * period, LONGEST)
    while rows <= LONGEST:
        middle = rows // 2 // period * period
        reached = []
        for phase in range(period):
            x = torch.zeros(1, in_channels, rows, period, dtype=torch.float64)
            x[:, :, middle + phase] = torch.nan
            reached.append(exact(x).isnan().any(dim=1).any(dim=-1))
            if bool(reached[-1][:, [0, -1]].any()):
                break
        else:
            seen = torch.cat(reached)
            return _widest(seen, period)
        rows *= 2
    return None


def _widest(seen: torch.Tensor, period: int) -> int:
    """The most rows of the input, end to end, that one row of the output depends on.

    Args:
        seen: shape (period, rows): whether row r of the output depends on row m + p of the
            input; that of row m + p + k period is the same, moved by k period.
    """
    widest = 0
    for row in range(period):
        found = [
            phase + shift
            for phase in range(period)
            for shift in range(-seen.shape[1], seen.shape[1], period)
            if 0 <= (at := seen.shape[1] // 2 // period * period + row - shift) < seen.shape[1]
            and bool(seen[phase, at])
        ]
        if found:
            widest = max(widest, max(found) - min(found) + 1)
    return widest
