"""What strangers hand in is looked at before it is read: its kind, its size."""

import os
import shutil
import socket
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data import reading
from challenge.data.challenges import seal
from challenge.data.challenges.challenge import open_challenge, read_manifest
from challenge.data.layout import Hidden, Public, Workspace
from challenge.data.physics import inpainting, kernel_files, measurements
from challenge.submissions import layout
from challenge.submissions.entries import archive, intake, teams
from challenge.submissions.inference import forecast, speed
from challenge.submissions.judging import result_files
from challenge.submissions.judging.judge import judge_entry, open_judge
from challenge.submissions.layout import Run
from challenge.submissions.runs.facts import read_facts

SPARSE = 5_000_000_000


def sparse(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(SPARSE)


def pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def endless(path: Path) -> None:
    """A regular file, says the system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/proc/kmsg" if os.path.exists("/proc/kmsg") else "/dev/zero")


READERS = {
    "an entry": ("x.zip", lambda path: intake.take(path, path.parent, Limits(weights_mb=1))),
    "a result": ("x.json", result_files.read),
    "facts of a run": ("run.json", lambda path: read_facts(Run(path.parent))),
    "a manifest": ("manifest.json", lambda path: read_manifest(Public(path.parent))),
    "a seal": ("seal.json", lambda path: seal.read(Hidden(path.parent))),
    "a list of teams": ("teams.yaml", lambda path: teams.load(Workspace(path.parent))),
    "a speed": ("speed.json", speed.read),
    "a measurement": ("x.npz", measurements.read),
    "kernels": ("x.npy", kernel_files.read),
    "kernels of MATLAB": ("x.mat", kernel_files.read),
    "masks": ("x.npy", inpainting._read),
}


@pytest.mark.parametrize("make", [sparse, pipe, device, listening, endless])
@pytest.mark.parametrize("what", READERS)
def test_what_is_no_file_or_too_large_is_not_read(tmp_path, monkeypatch, what, make):
    """At once, in one line, and without memory for it."""
    name, read = READERS[what]
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    tracemalloc.start()
    try:
        if (what, make) == ("an entry", sparse):
            taken = read(tmp_path / name)
            assert taken.too_large
            assert (tmp_path / "entry.zip").stat().st_size <= intake.BEGINNING
        else:
            with pytest.raises(UserError) as caught:
                read(tmp_path / name)
            assert len(caught.value.mistakes) == 1
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "kind"), [(pipe, "pipe"), (device, "device"), (listening, "socket")]
)
def test_what_is_no_file_is_told_what_it_is(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "x")
    for read in (reading.bounded, reading.check):
        with pytest.raises(UserError, match=f"x: is a {kind}, not a file; give a file"):
            read(tmp_path / "x")


def test_a_pipe_that_takes_a_files_place_after_the_look_does_not_block(tmp_path, monkeypatch):
    pipe(tmp_path / "x")
    monkeypatch.setattr(reading, "kind", lambda _: "")
    with pytest.raises(UserError, match="a pipe"):
        reading.bounded(tmp_path / "x")


def test_a_file_that_grows_while_it_is_copied_is_too_large(tmp_path, monkeypatch):
    limits = Limits(weights_mb=1)
    (tmp_path / "x.zip").write_bytes(b"x" * (intake.ROOM + 1_000_001))
    facts = os.stat_result((0o100644, *[0] * 9))
    monkeypatch.setattr(intake.os, "fstat", lambda _: facts)
    assert intake.take(tmp_path / "x.zip", tmp_path, limits).too_large


def test_an_entry_that_is_too_large_has_its_verdict_without_a_copy(tmp_path, workspace, make_entry):
    """With its team, where its table of contents can be read."""
    shutil.copytree(workspace.path, tmp_path / "organiser")
    place = Workspace(tmp_path / "organiser")
    opened = open_challenge(place.public("tiny").path)
    judge = open_judge(place, opened, place.hidden("tiny"), None, level="process")
    entry = make_entry()
    with zipfile.ZipFile(entry) as file:
        contents = {name: [file.read(name)] for name in file.namelist()}
    contents["weights.safetensors"] = [bytes(1_000_000)] * 4
    archive.write(tmp_path / "large.zip", contents)
    sparse(tmp_path / "sparse.zip")
    seen = {}
    for name in ("large", "sparse"):
        result, fresh = judge_entry(judge, tmp_path / f"{name}.zip")
        assert fresh
        seen[name] = (result.entry.team, result.outcome, result.entry.bytes > 3_000_000)
        again, fresh = judge_entry(judge, tmp_path / f"{name}.zip")
        assert not fresh
        assert again == result
    assert seen == {"large": ("alpha", "oversize", True), "sparse": ("", "invalid_entry", True)}
    assert len(list(layout.results(place).glob("*.json"))) == 2


def test_an_entry_that_is_made_smaller_meanwhile_is_not_judged(
    tmp_path, workspace, make_entry, monkeypatch
):
    """There is no copy of it, so that others could change what is judged."""
    shutil.copytree(workspace.path, tmp_path / "organiser")
    place = Workspace(tmp_path / "organiser")
    opened = open_challenge(place.public("tiny").path)
    judge = open_judge(place, opened, place.hidden("tiny"), None, level="process")
    good, take = make_entry(), intake.take

    def taken_then_replaced(entry, *rest):
        taken = take(entry, *rest)
        shutil.copyfile(good, entry)
        return taken

    monkeypatch.setattr(intake, "take", taken_then_replaced)
    sparse(tmp_path / "x.zip")
    with pytest.raises(UserError, match="was changed while it was read"):
        judge_entry(judge, tmp_path / "x.zip")
    assert not list(layout.results(place).glob("*.json"))


def test_a_time_that_cannot_be_read_is_no_time(tmp_path):
    """A hint is no reason not to pack."""
    run = Run(tmp_path)
    for path in (run.config, run.weights):
        path.write_bytes(b"")
    sparse(run.inference("val"))
    assert forecast.measured(run) is None
