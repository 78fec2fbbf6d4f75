"""A training that `torchrun` started: the one of `--processes`, one voice, nobody waits for nobody.

What forks here has torchrun's environment and store. That its agents start the command is tested
last, on two hosts that are network namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from challenge.configs.loader import load_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.submissions.layout import Run
from challenge.submissions.runs import log
from tests.submissions.runs.small import small

RANKS = Path(__file__).with_name("ranks.py")
CONFIG = small(6, 2)


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
    for scenario in ("law", "processes"):
        assert [each.name[-1] for each in folder.glob(f"{scenario}-started-*")] == ["0"]
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
        ("finish", "--finish: needs one process"),
    ],
)
def test_what_is_wrong_for_all_is_said_by_the_first_alone(folder, scenario, text):
    first, second = said(folder, scenario)
    assert first.startswith("error: ") and text in first
    assert second == "exit 1"


# --- torchrun itself -----------------------------------------------------------------------------


@pytest.fixture
def hosts():
    """What begins a command on each of two hosts, network namespaces with a cable between them."""
    names = [f"challenge-{os.getpid()}-{number}" for number in (1, 2)]
    cable = [f"c{os.getpid()}-{number}" for number in (1, 2)]
    commands = [f"netns add {name}" for name in names]
    commands.append(f"link add {cable[0]} type veth peer name {cable[1]}")
    for number, (name, end) in enumerate(zip(names, cable, strict=True), 1):
        commands += [
            f"link set {end} netns {name}",
            f"-n {name} addr add 10.213.7.{number}/24 dev {end}",
            f"-n {name} link set {end} up",
            f"-n {name} link set lo up",
        ]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield [["ip", "netns", "exec", name] for name in names]
    except FileNotFoundError:
        pytest.skip("no network namespaces here: there is no `ip`")
    finally:
        for name in names if shutil.which("ip") else ():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture
def start(workspace, tmp_path):
    """Start the command under torchrun on two hosts, which write into `said-0` and `said-1`."""
    (tmp_path / "public").symlink_to(workspace.path / "public")
    (tmp_path / "small.yaml").write_text(json.dumps(CONFIG))
    started = []

    def both(addresses, begins, port, *overrides):
        endpoint = f"{addresses[0]}:{port}"
        agent = [sys.executable, "-m", "torch.distributed.run", "--rdzv-endpoint", endpoint]
        agent += ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
        command = [str(Path(sys.executable).parent / "challenge"), "train", "small.yaml"]
        command += [*overrides, "--workspace", ".", "--device", "cpu"]
        # Gloo finds its way by itself.
        environment = {k: v for k, v in os.environ.items() if k != "GLOO_SOCKET_IFNAME"}
        # Nobody there knows names; torch asks for them.
        environment["RES_OPTIONS"] = "timeout:1 attempts:1"
        for number, begin in enumerate(begins):
            # By its name torchrun finds where it is; these two have one name.
            meets = [f"--rdzv-conf=is_host={1 - number}", f"--local-addr={addresses[number]}"]
            with (tmp_path / f"said-{number}").open("wb") as output:
                started.append(
                    subprocess.Popen(
                        [*begin, *agent, *meets, "--no-python", *command],
                        cwd=tmp_path,
                        stdout=output,
                        stderr=output,
                        env=environment,
                    )
                )
        return started

    yield both
    for each in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(each.pid).children(recursive=True):
                child.kill()
        each.kill()
        each.wait()


@pytest.mark.slow
def test_torchrun_trains_on_two_hosts_as_two_processes_do(folder, hosts, start, tmp_path):
    agents = start(["10.213.7.1", "10.213.7.2"], hosts, 29400)
    assert [each.wait(timeout=500) for each in agents] == [0, 0]
    (tmp_path / "runs").rename(tmp_path / "moved")
    (tmp_path / "law").mkdir()
    (tmp_path / "moved").rename(tmp_path / "law/runs")
    assert trained(tmp_path, "law") == trained(folder, "processes")
    words = [(tmp_path / f"said-{number}").read_text() for number in (0, 1)]
    assert sum(each.count("trained small in") for each in words) == 1


@pytest.mark.slow
def test_a_process_that_is_killed_ends_both_torchruns_with_one_line_of_ours(start, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agents = start(["127.0.0.1"] * 2, [[], []], port, "train.steps=1000000")
    run, end = Run(tmp_path / "runs/tiny/small"), time.monotonic() + 500
    while not run.checkpoint_state.exists() and time.monotonic() < end:
        time.sleep(0.1)
    for each in psutil.Process(agents[1].pid).children():
        each.kill()
    assert all(each.wait(timeout=100) for each in agents)
    lines = "".join((tmp_path / f"said-{number}").read_text() for number in (0, 1)).splitlines()
    (line,) = (each for each in lines if each.startswith("error: "))
    assert line.endswith("is gone; the run continues from its last checkpoint with `--resume`")
