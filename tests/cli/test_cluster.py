"""`challenge score --scheduler` and `challenge workers`."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from challenge.cli import demo
from challenge.submissions import machine
from challenge.submissions.judging import connection
from tests.cli.conftest import SMALL

pytest.importorskip("distributed")
GUIDE = Path(__file__).parents[2] / "docs" / "cluster.md"
SCORE = ("score", "workspace/entries/alpha-tv.zip", "--hidden", "workspace/hidden/deblur")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheduler", "tcp://10.0.0.1:8786"], "is not encrypted"),
        (["--scheduler", "tls://10.0.0.1:8786"], "needs a certificate"),
        (["--scheduler", "tcp://127.0.0.1:8786", "--workers", "2"], "is for this machine"),
        (["--tls", "cluster"], "is for a scheduler at an address"),
        (["--scheduler", "local", "--tls", "cluster"], "is for a scheduler at an address"),
        (["--scheduler", "slurm", "--tls", "cluster"], "is for a scheduler at an address"),
        (["--scheduler", "slurm"], "there is no `sbatch` here"),
        (["--scheduler", "local", "--workers", "999"], None),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    challenge, options, said, monkeypatch
) -> None:
    if "slurm" in options:
        pytest.importorskip("dask_jobqueue", reason="`pip install -e '.[slurm]'`")
        monkeypatch.setenv("PATH", "")
    if said is None:
        # Never more workers than entries.
        done = challenge("score", "nothing.zip", *SCORE[2:], *options)
        assert done.code == 2 and "nothing.zip" in done.err
        return
    done = challenge(*SCORE, *options)
    assert done.code == 2 and said in done.err
    assert sum(line.startswith("error:") for line in done.err.splitlines()) == 1


@pytest.mark.parametrize("address", ["locl", "10.0.0.1:8786", "tcp://127.0.0.1:1"])
def test_a_demo_whose_scheduler_is_not_there_begins_nothing(
    elsewhere, tmp_path, address, monkeypatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / demo.MARKER).touch()
    done = elsewhere("demo", "old", "--force", "--scheduler", address)
    assert done.code == 2 and done.err.startswith(f"error: --scheduler {address}: "), done.err
    assert (tmp_path / "old" / demo.MARKER).is_file() and not done.out


def test_workers_wants_an_address_or_makes_a_certificate(elsewhere, tmp_path) -> None:
    assert "give that of a scheduler" in elsewhere("workers").err
    for own in ("local", "slurm"):
        assert "of `score` alone" in elsewhere("workers", own).err
    assert elsewhere("workers", "--certificate", "cluster").code == 0
    assert {each.name for each in (tmp_path / "cluster").iterdir()} == {
        "certificate.pem",
        "key.pem",
    }
    assert "exists already" in elsewhere("workers", "--certificate", "cluster").err


def guide(port: int) -> dict[str, list[str]]:
    """The commands of docs/cluster.md by their first two words, for this machine alone."""
    text = GUIDE.read_text().replace("\\\n", " ")
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    found = {}
    for line in filter(str.strip, lines):
        line = line.replace("10.0.0.1:8786", f"127.0.0.1:{port}").replace("10.0.0.1", "127.0.0.1")
        # One worker: an entry of `deblur` has two cores.
        line = line.replace("8786", f"{port}").replace("--nworkers 2", "--nworkers 1")
        words = shlex.split(line.replace("workspace/entries/*.zip", SCORE[1]))
        options = {"--certificate", "local"} & {*words}
        found[" ".join([*words[:2], *options])] = words
    return found


def test_every_command_of_the_guide_exists() -> None:
    import typer.main

    from challenge.cli.main import app

    group = typer.main.get_command(app)
    commands = [words for words in guide(8786).values() if words[0] == "challenge"]
    assert {words[1] for words in commands} == {"score", "workers"}
    for _, name, *rest in commands:
        command = group.commands[name]
        command.make_context(name, list(rest), resilient_parsing=True)
        options = {each for parameter in command.params for each in parameter.opts}
        assert {each for each in rest if each.startswith("--")} <= options


@pytest.mark.by_hand
@pytest.mark.skipif(machine.cores() < 2, reason="`deblur` judges on two cores")
def test_the_guide_is_played_and_every_scheduler_says_the_same(challenge, story) -> None:
    """Its commands as they stand, on loopback, over TLS; a real entry, the same scores."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        commands = guide(free.getsockname()[1])

    def scores(*options: str) -> list[float]:
        done = challenge(*SCORE, "--rejudge", "--json", *options)
        assert done.code == 0, done.err
        (found,) = json.loads(done.out)
        assert found["outcome"] == "ok"
        assert ("where" in found) == bool(options)
        return [image["psnr"] for image in found["images"]]

    def options_of(name: str) -> list[str]:
        words = commands[name]
        return words[words.index("--scheduler") :]

    alone = scores()
    assert scores(*options_of("challenge score local")) == alone
    assert challenge(*commands["challenge workers --certificate"][1:]).code == 0
    with (story / "dask.log").open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", *commands[name]], cwd=story, stdout=log, stderr=log
            )
            for name in ("dask scheduler", "dask worker")
        ]
        try:
            listed, end = commands["challenge workers"][1:], time.monotonic() + 120
            while time.monotonic() < end:
                found = challenge(*listed, "--json")
                if found.code == 0 and json.loads(found.out)["workers"]:
                    break
            (worker,) = json.loads(found.out)["workers"]
            assert (worker["note"], worker["judges"]) == ("", "") and worker["level"]
            assert scores(*options_of("challenge score")) == alone
            shown = challenge(*listed)
            assert worker["host"] in shown.out and worker["level"] in shown.out
            # Without the certificate nobody is let in.
            plain = challenge("workers", listed[1].replace("tls://", "tcp://"))
            assert (
                plain.code == 2
                and "no scheduler answers there that understands this client" in plain.err
            )
        finally:
            for each in reversed(started):
                each.terminate()
                each.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(machine.cores() < 2, reason="`deblur` judges on two cores")
def test_the_demo_is_played_on_workers_too(elsewhere, tmp_path, monkeypatch) -> None:
    story = demo._story

    def small(*about: object) -> list[list[str]]:
        return [[*each, *SMALL] if each[0] == "prepare" else each for each in story(*about)]

    monkeypatch.setattr(demo, "_story", small)
    done = elsewhere("demo", "demo", "--minutes", "0.05", "--scheduler", "local")
    assert done.code == 0, done.err
    assert done.err.count("--scheduler local") == 1 and "on 1 machine" in done.err
    found = [json.loads(each.read_text()) for each in (tmp_path / "demo/results").glob("*.json")]
    assert [each["outcome"] for each in found] == 4 * ["ok"]
    assert all(each["where"]["reference"] for each in found)
    assert "The whole competition took" in done.out and (tmp_path / "demo/board.html").is_file()
