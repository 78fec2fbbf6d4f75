"""Cores are one process's alone, until it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
