"""Cores are one process's alone, until it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from challenge.submissions import machine
from challenge.submissions.judging import cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores are pinned on Linux")
CLAIM = """
import sys
from challenge.submissions import machine
from challenge.submissions.judging import cores
machine.core_numbers = lambda: [2, 3, 5, 7]
print(cores.claim(int(sys.argv[1])), cores.claim(1), flush=True)
sys.stdin.read()
"""


def test_every_process_has_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def start(count: int) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    first, said = start(2)
    assert said == "[2, 3] [2]"
    second, said = start(3)
    assert said == "[5, 7] [5]"
    first.kill()
    first.communicate()
    third, said = start(1)
    assert said == "[2] [2]"
    for each in (second, third):
        each.kill()
        each.communicate()


@pytest.mark.skipif(machine.cores() < 2, reason="somebody else has one core")
def test_a_block_has_cores_that_nobody_else_has_and_gives_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cores, "_held", {})
    every = machine.core_numbers()
    claim = CLAIM.replace("[2, 3, 5, 7]", str(every))
    others = []

    def another_one() -> str:
        command = [sys.executable, "-c", claim, "1"]
        pipe = subprocess.PIPE
        others.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert others[-1].stdout is not None
        return others[-1].stdout.readline().split("]")[0]

    assert another_one() == f"[{every[0]}"
    for _ in range(2):
        with cores.alone(1):
            assert machine.core_numbers() == every[1:2]
            child = "import os; print(*os.sched_getaffinity(0))"
            said = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
            assert said.stdout.split() == [str(every[1])]
        assert machine.core_numbers() == every
    with cores.alone(len(every)):
        assert machine.core_numbers() == every, "too few are free"
    assert another_one() == f"[{every[1]}", "they are free again"
    for each in others:
        each.kill()
        each.communicate()
