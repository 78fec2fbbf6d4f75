"""Thousands of spoiled files: every reader answers or refuses, in time and in little memory.

`readers` has the law, `mutations` the ways to spoil. A failure names the command that repeats it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("readers.py")
MEGABYTES = 200
"""By which the peak of a process may grow, over all of its inputs."""

# How many of every 1,250 inputs must be accepted: if nothing is, the mutants test nothing.
READERS = {"zip": 20, "manifest": 50, "yaml": 50, "tensors": 50}
COUNTS = [300, pytest.param(1_250, marks=pytest.mark.slow)]
"""For each reader."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def fed(name: str, seed: int, count: int, folder: Path, limit: float) -> dict[str, Any]:
    """Run a reader over its inputs in a fresh process, and say what broke."""
    command = [sys.executable, str(SCRIPT), name, str(seed), "0", str(count), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs: python {SCRIPT} {(folder / 'now').read_text()}")
    if done.returncode:
        last = folder / "now"
        case = last.read_text() if last.exists() else "before the first input"
        pytest.fail(f"died of {done.returncode}: {SCRIPT} {case}\n{done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    if report["failure"]:
        pytest.fail(f"{report['failure']}\nthe whole input: {folder / 'failing'}")
    assert report["cases"] == count
    assert report["memory"] < MEGABYTES * 1_000_000
    return report


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", READERS)
def test_mutated_inputs(name: str, count: int, tmp_path: Path) -> None:
    report = fed(name, 0, count, tmp_path, 120)
    assert READERS[name] < report["accepted"] * 1_250 / count < 1_000


@pytest.mark.by_hand
@pytest.mark.parametrize("name", READERS)
def test_100_000_inputs(name: str, tmp_path: Path) -> None:
    fed(name, 1, 25_000, tmp_path, 3_000)


def test_a_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import readers, pathlib, random\n"
        "for name, kind in readers.READERS.items():\n"
        "    reader = kind(pathlib.Path(sys.argv[2]))\n"
        "    for number in range(50):\n"
        "        data = reader.mutant(random.Random(f'{name} 7 {number}'))\n"
        "        print(hashlib.sha256(data).hexdigest())\n"
    )
    outputs = []
    for _ in range(2):
        command = [sys.executable, "-c", script, str(SCRIPT.parent), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.split())
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0])) > 150
