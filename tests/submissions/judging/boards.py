"""What tests of several machines compare, and what they store of speeds."""

from __future__ import annotations

import json
from dataclasses import asdict

from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.submissions import machine
from challenge.submissions.inference import speed
from challenge.submissions.judging import board, result_files


def board_but_for_times(place: Workspace, challenge: Challenge) -> bytes:
    """All rows in their order, as a file would hold them."""
    rules = challenge.config.rules.model_copy(update={"entries_per_day": 100})
    found = board.rows(result_files.read_all(place), rules, None, challenge.hash, everything=True)
    rows = [{key: value for key, value in asdict(row).items() if key != "seconds"} for row in found]
    return json.dumps(rows, indent=1, default=lambda each: each.model_dump(mode="json")).encode()


def speed_here(slower: float = 1.0) -> speed.Speed:
    """Of this machine, where every kernel takes so many times a millisecond."""
    timing = speed.Timing(1e-3 * slower, 0.9e-3 * slower, 1.1e-3 * slower)
    return speed.Speed(
        threads=1,
        machine=machine.describe(),
        torch=machine.versions()["torch"],
        measured="2026-12-01T10:00:00+00:00",
        kernels=dict.fromkeys(speed.KERNELS, timing),
    )
