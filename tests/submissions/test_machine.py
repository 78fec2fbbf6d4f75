"""Freed memory is kept: large temporaries cost no page faults any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from challenge.submissions.machine import keep_memory

if sys.argv[1] == "keep" and not keep_memory():
    sys.exit(77)
def work():
    for _ in range(20):
        several = [np.ones(500_000) for _ in range(8)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_page_faults_go_away() -> None:
    faults = {}
    for how in ("leave", "keep"):
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True)
        if done.returncode == 77:
            pytest.skip("no glibc")
        assert done.returncode == 0, done.stderr
        faults[how] = int(done.stdout)
    assert faults["keep"] < 0.05 * faults["leave"]
