"""Temporary folders are removed once their process is gone, not before."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from challenge.submissions import scratch


@pytest.mark.skipif(os.name != "posix", reason="only there does a dead process wait to be reaped")
def test_what_a_dead_process_left_is_removed_though_its_parent_has_not_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    # Its end is seen and left unread: it stays in the table of processes.
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    folders = {name: Path(tmp_path) / f"challenge-{process.pid}-entry-x"
               for name, process in (("alive", alive), ("dead", dead))}  # fmt: skip
    for folder in folders.values():
        folder.mkdir()
    try:
        scratch.remove_leftovers()
        assert {name: folder.exists() for name, folder in folders.items()} == {
            "alive": True,
            "dead": False,
        }
    finally:
        alive.communicate(b"\n")
        dead.wait()
