"""Ratios that hold on a noisy machine: the two sides in turn, pair by pair, the median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, TypedDict


class Result(TypedDict):
    """One line of the table."""

    what: str
    measured: float
    target: float
    better: str
    """`lower` or `higher`: on which side of the target it must lie."""
    unit: str
    detail: str


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def paired(
    one: Callable[[], Any], other: Callable[[], Any], pairs: int, warm_up: int = 1
) -> tuple[float, float, float]:
    """Time `one` and `other` in turn: median of the ratios one/other, and both medians in seconds.

    The order within a pair alternates, so that neither side always runs second.
    """
    for _ in range(warm_up):
        one()
        other()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            second = seconds(other)
            first = seconds(one)
        else:
            first = seconds(one)
            second = seconds(other)
        times.append((first, second))
    return (
        statistics.median(a / b for a, b in times),
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
    )


def holds(result: Result) -> bool:
    """Whether a result lies on the right side of its target."""
    if result["better"] == "lower":
        return result["measured"] <= result["target"]
    return result["measured"] >= result["target"]
