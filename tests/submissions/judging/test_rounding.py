"""`pack --dtype`: smaller entries, and what that changes on val stands in the manifest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from challenge.cli.main import app
from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.submissions.entries.check import check, read_manifest
from challenge.submissions.entries.load import load
from challenge.submissions.entries.pack import pack, repack
from challenge.submissions.judging.rounding import pack_rounded
from challenge.submissions.layout import Run
from challenge.submissions.scoring.metrics import psnr

WIDE = """
import torch
from challenge.methods.contract import Method

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 128, 3, padding=1), torch.nn.Conv2d(128, 256, 3, padding=1),
        )
        self.register_buffer("limits", torch.tensor([0.0, 1e6]))

    def forward(self, y, physics):
        x = physics.A_adjoint(y)
        return x + 0.2 * self.net(x)[:, :3]
"""
"""1.2 MB where 1 MB is allowed."""

CANCELS = """
import torch
from challenge.methods.contract import Method

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Parameter(torch.full((1, 1), 1000.7))

    def forward(self, y, physics):
        return physics.A_adjoint(y) * (self.net[0, 0] - 999.7)
"""
"""Steps of bfloat16 are as large as 4 there."""


def quality(path: Path, challenge: Challenge) -> float:
    """Mean PSNR over val of what a run or an entry holds, in dB."""
    method, found = load(path), []
    for identity in challenge.ids("val"):
        y, physics = tensors(challenge.measurement("val", identity))
        with torch.no_grad():
            x_hat = method(y, physics)[0].numpy()
        found.append(psnr(estimate=x_hat, truth=challenge.truth(identity)))
    return sum(found) / len(found)


@pytest.mark.slow
def test_the_manifest_states_what_rounding_changes(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    run, target, steps = make_run(WIDE), tmp_path / "alpha-mine.zip", []
    before = {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    found = pack_rounded(
        run, "bfloat16", "alpha", target, challenge, None,
        progress=lambda name, step: steps.append((name, step.done, step.total)),
    )  # fmt: skip
    assert check(target, challenge) == []
    assert target.stat().st_size < 0.52 * run.weights.stat().st_size
    facts = read_manifest(target)
    assert facts is not None and facts.rounded == found and found is not None
    assert (found.dtype, found.images) == ("bfloat16", len(challenge.ids("val")))
    assert found.psnr_before == pytest.approx(quality(run.path, challenge), abs=2e-4)
    assert found.psnr_after == pytest.approx(quality(target, challenge), abs=2e-4)
    assert found.psnr_before != found.psnr_after
    assert steps == [
        ("as trained", 1, 2),
        ("as trained", 2, 2),
        ("bfloat16", 1, 2),
        ("bfloat16", 2, 2),
    ]
    assert before == {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    # An entry that is packed anew says it too.
    again = tmp_path / "beta-mine.zip"
    repack(target, "beta", again, challenge, None)
    repacked = read_manifest(again)
    assert repacked is not None and repacked.rounded == found


def test_an_oversize_run_is_told_of_half_precision_where_that_fits(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    target = tmp_path / "alpha-mine.zip"
    with pytest.raises(
        UserError, match=r"pack it with `--dtype float16`, which leaves about 6\d\d,"
    ):
        pack(make_run(WIDE), "alpha", target, challenge, None)
    larger = WIDE.replace("256", "512")
    for make in (pack, lambda run, *rest: pack_rounded(run, "float16", *rest)):
        with pytest.raises(UserError) as raised:
            make(make_run(larger), "alpha", target, challenge, None)
        assert "train a smaller network" in str(raised.value)
        assert "pack it with" not in str(raised.value)
    assert not target.exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_in_half_precision_are_packed_as_they_are(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path, dtype: str
) -> None:
    run = make_run(WIDE.replace("self.reg", "self.net.half().float()\n        self.reg"))
    plain, asked = tmp_path / "a" / "alpha-mine.zip", tmp_path / "b" / "alpha-mine.zip"
    pack(run, "alpha", plain, challenge, None)
    assert pack_rounded(run, dtype, "alpha", asked, challenge, None) is None  # type: ignore[arg-type]
    assert asked.read_bytes() == plain.read_bytes()


def test_a_value_beyond_float16_is_one_line_and_nothing_is_written(
    make_run: Callable[..., Run], challenge: Challenge, tmp_path: Path
) -> None:
    fill = "torch.nn.init.constant_(self.net[0].weight, 1e5)\n        self.reg"
    target = tmp_path / "alpha-mine.zip"
    with pytest.raises(UserError) as raised:
        pack_rounded(
            make_run(WIDE.replace("self.reg", fill)), "float16", "alpha", target, challenge, None
        )
    assert str(raised.value) == (
        "--dtype float16: `net.0.weight` holds 100000, the largest value of float16 is 65504; "
        "give `--dtype bfloat16`, or leave it out"
    )
    assert not target.exists()


def command(workspace: Workspace, *arguments: object) -> Result:
    words = [*map(str, arguments), "--workspace", str(workspace.path)]
    return CliRunner().invoke(app, words)


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The test's own workspace, with the prepared challenge in it."""
    found = Workspace(tmp_path / "workspace")
    found.path.mkdir()
    (found.path / "public").symlink_to(workspace.path / "public")
    return found


@pytest.mark.slow
def test_the_proposal_works_when_it_is_followed(
    make_run: Callable[..., Run], place: Workspace
) -> None:
    run = make_run(WIDE)
    pack_it = ("pack", run.path, "--team", "alpha")
    refused = command(place, *pack_it)
    assert isinstance(refused.exception, UserError)
    proposed = re.search(r"--dtype \w+", str(refused.exception))
    assert proposed is not None
    done = command(place, *pack_it, *proposed.group().split())
    assert done.exit_code == 0, done.output
    assert re.search(r"float16   PSNR on val \d\d\.\d+ dB, \d\d\.\d+ before", done.stdout)
    entry = place.path / "entries" / "alpha-mine.zip"
    first = entry.read_bytes()
    assert command(place, *pack_it, *proposed.group().split()).exit_code == 0
    assert entry.read_bytes() == first
    assert "as packed float16   PSNR on val" in command(place, "check", entry).stdout


@pytest.mark.slow
def test_large_changes_are_warned_of_and_failures_are_one_line(
    make_run: Callable[..., Run], place: Workspace
) -> None:
    run = make_run(CANCELS)
    done = command(place, "pack", run.path, "--team", "alpha", "--dtype", "bfloat16")
    assert re.search(r"bfloat16 changes PSNR on val by -\d+\.\d{3} dB", done.stderr), done.stderr
    broken = make_run(CANCELS.replace("return", "raise OSError('no')\n        return"))
    failed = command(place, "pack", broken.path, "--team", "alpha", "--dtype", "float16")
    assert isinstance(failed.exception, UserError)
    assert str(failed.exception).startswith(
        "--dtype float16: what rounding changes cannot be measured: val ends with crash, as trained"
    )


@pytest.mark.parametrize("word", ["float32", "half", "Float16", ""])
def test_another_type_is_refused(make_run: Callable[..., Run], place: Workspace, word: str) -> None:
    done = command(place, "pack", make_run().path, "--team", "alpha", "--dtype", word)
    assert isinstance(done.exception, UserError)
    assert "give float16 or bfloat16, or leave it out" in str(done.exception)
