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


@pytest.mark.skipif(os.name != "posix", reason="folders are locked only there")
def test_a_folder_of_another_machines_process_stays_as_long_as_that_runs(tmp_path, monkeypatch):
    """Of a shared temporary folder: its number says nothing here, its lock does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setattr(os, "getpid", lambda: dead.pid)
    with scratch.folder("entry") as made:
        monkeypatch.undo()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert made.name.startswith(f"challenge-{dead.pid}-")
        scratch.remove_leftovers()
        assert made.exists()
    assert list(tmp_path.iterdir()) == []
