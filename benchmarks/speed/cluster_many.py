"""How well 32 workers are kept busy; as `cluster`, apart for the minutes that their start takes."""

from __future__ import annotations

from benchmarks.speed import cluster
from benchmarks.speed.timing import Result


def run(quick: bool = False) -> list[Result]:
    """One result."""
    return cluster.run_many(quick)
