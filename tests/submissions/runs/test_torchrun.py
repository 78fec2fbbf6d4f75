"""A training that `torchrun` started: the one of `--processes`, one voice, nobody waits for nobody.

What forks here has torchrun's environment and store. That its agents start the command is tested
last, on two hosts that are network namespaces.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from challenge.configs.loader import load_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.submissions.layout import Run
from challenge.submissions.runs import log

RANKS = Path(__file__).with_name("ranks.py")
CONFIG = {
    "challenge": "tiny",
    "name": "small",
    "method": {
        "name": "network",
        "net": {"width": 4, "depth": 1, "blocks": 1},
        "precision": "float32",
    },
    "train": {"steps": 6, "evaluate": 2, "patch": 32, "batch": 2, "precision": "float32"},
}


@pytest.fixture(scope="module")
def folder(workspace, tmp_path_factory):
    """What came of every rank of every scenario."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "public").symlink_to(workspace.path / "public")
    config, source = load_challenge(str(workspace.path / "tiny.yaml"), ["noise.sigma=0.05"])
    prepare(config, source, Workspace(folder / "other"), progress=print, notice=print)
    command = [sys.executable, str(RANKS), str(folder), json.dumps(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return folder


def said(folder, scenario):
    files = (folder / f"{scenario}-{rank}" for rank in range(2))
    return tuple(each.read_text() if each.exists() else "killed" for each in files)


def trained(folder, scenario):
    """The weights of a scenario's run, and all that its log says but for times."""
    run = Run(folder / scenario / "runs/tiny/small")
    timed = {"images_per_s", "utilisation"}
    lines = [{k: v for k, v in line.items() if k not in timed} for line in log.read(run)]
    return run.weights.read_bytes(), lines


def test_it_is_the_training_of_as_many_processes_to_the_last_bit(folder):
    assert said(folder, "law") == said(folder, "processes") == ("finished", "exit 0")
    assert trained(folder, "law") == trained(folder, "processes")
    psnr = [line["psnr"] for line in trained(folder, "law")[1] if "psnr" in line]
    assert len(set(psnr)) == len(psnr) == 4  # once each: one process writes


@pytest.mark.parametrize(
    ("scenario", "outcomes"),
    [
        ("stopped", ("stopped by None", "exit 0")),
        (
            "gone",
            (f"error: process 2 of 2 on {socket.gethostname()}: is gone; the run continues from "
             "its last checkpoint with `--resume`", "killed"),
        ),
        (
            "first",
            ("killed", f"error: process 1 of 2 on {socket.gethostname()}: is gone; the run "
             "continues from its last checkpoint with `--resume`"),
        ),
    ],
)  # fmt: skip
def test_whichever_process_ends_all_end_with_one_line_and_the_run_goes_on_exactly(
    folder, scenario, outcomes
):
    assert said(folder, scenario) == outcomes
    if scenario == "first":
        return
    assert said(folder, f"{scenario}-again") == ("finished", "exit 0")
    assert trained(folder, scenario) == trained(folder, "processes")


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("elsewhere", "sees another challenge: `tiny "),
        ("nowhere", "is not a prepared challenge"),
        ("older", "sees another toolkit: `0.0.1`"),
        ("unshared", "sees another checkpoint: `none`, the first one `step 4`"),
    ],
)
def test_a_node_that_sees_something_else_is_named_and_nothing_is_trained(folder, scenario, text):
    first, second = said(folder, scenario)
    assert first.startswith(f"error: process 2 of 2 on {socket.gethostname()}: ")
    assert text in first
    assert second == "exit 1"
    if scenario != "unshared":
        assert not (folder / scenario / "runs").exists()


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("uneven", "give a multiple of 2"),
        ("doubled", "--processes: is for one machine; `torchrun` started 2 already; leave it out"),
        ("finish", "--finish: takes a run as it is"),
    ],
)
def test_what_is_wrong_for_all_is_said_by_the_first_alone(folder, scenario, text):
    first, second = said(folder, scenario)
    assert first.startswith("error: ") and text in first
    assert second == "exit 1"
