"""A preparation that fails or is killed leaves what was there before, and says one line."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.data.challenges import prepare as prepare_module
from challenge.data.challenges import seal, staging
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images import codec
from challenge.data.layout import Workspace, beside


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


LARGE = """
name: large
images: {source: builtin, size: 256, train: 30}
operator: {kernel: {kind: gaussian, std: 1.0}}
noise: {sigma: 0.03}
"""


class Fault:
    """Let the n-th image written fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
        encode = codec.encode
        calls = iter(range(1000))

        def failing(picture: codec.Picture) -> bytes:
            if next(calls) >= after:
                raise error
            return encode(picture)

        monkeypatch.setattr(codec, "encode", failing)


def nothing_is_left(tmp_path: Path) -> bool:
    folders = (tmp_path / "workspace" / "public", tmp_path / "workspace" / "hidden")
    return not any(list(folder.iterdir()) for folder in folders if folder.exists())


def test_a_full_disk_is_one_line_and_leaves_nothing(prepare, monkeypatch, tmp_path):
    Fault(monkeypatch, 5, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError) as caught:
        prepare()
    assert str(caught.value) == (
        f"{tmp_path / 'workspace'}: the disk is full; "
        "free some space and run the same command again"
    )
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("after", [0, 3, 8])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")], ids=repr)
def test_a_failure_under_force_keeps_the_old_challenge(prepare, monkeypatch, after, error):
    prepared = prepare()
    before = tree(prepared.public.path), tree(prepared.hidden.path)
    Fault(monkeypatch, after, error)
    with pytest.raises((KeyboardInterrupt, UserError)):
        prepare(force=True)
    assert (tree(prepared.public.path), tree(prepared.hidden.path)) == before
    assert not list(prepared.public.path.parent.glob(".*"))
    assert not list(prepared.hidden.path.parent.glob(".*"))


def test_ctrl_c_leaves_nothing(prepare, monkeypatch, tmp_path):
    Fault(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare()
    assert nothing_is_left(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(prepare, tmp_path):
    (tmp_path / "workspace").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written; check its permissions"):
        prepare()


def test_a_file_in_the_place_of_the_workspace_is_one_line(prepare, tmp_path):
    (tmp_path / "workspace").touch()
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        prepare()


class Killed(BaseException):
    """Nothing that runs after it counts."""


@pytest.mark.parametrize("stop", range(1, 9))
@pytest.mark.parametrize("force", [False, True])
def test_a_kill_between_two_renames_is_undone_or_finished(prepare, tmp_path, stop, force):
    """Whichever is the last: afterwards there is one whole challenge, old or new, or none."""
    workspace = Workspace(tmp_path / "workspace")
    public, hidden = workspace.public("small"), workspace.hidden("small")
    before = None
    if force:
        prepare()
        before = tree(public.path), tree(hidden.path)
    replace, remove, steps = Path.replace, shutil.rmtree, iter(range(1, 1000))

    def rename(self: Path, target: Path) -> Path:
        if next(steps) == stop:
            raise Killed
        return replace(self, target)

    def delete(path: Path) -> None:
        if next(steps) == stop:
            raise Killed
        remove(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", rename)
        patch.setattr(shutil, "rmtree", delete)
        patch.setattr(staging, "recover", lambda *_: "")
        with suppress(Killed):
            prepare(force=force)

    staging.recover(public, hidden)
    assert not list(public.path.parent.glob(".*"))
    assert not list(hidden.path.parent.glob(".*"))
    assert public.path.exists() == hidden.path.exists()
    if public.path.exists():
        open_challenge(public.path, verify=True)
        assert seal.verify(public, hidden)
    after = (tree(public.path), tree(hidden.path)) if public.path.exists() else None
    in_place = 4 if force else 2  # renames until the new folders are where they belong
    if stop <= in_place:
        assert after == before or (not force and stop == 2), "undone, or finished by one rename"
    else:
        assert after is not None
        assert after != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("force", [False, True])
def test_killed_in_the_middle_then_again(prepare, tmp_path, force):
    """SIGKILL by the system while images are written, then the same command."""
    public = Workspace(tmp_path / "workspace").public("small")
    before = tree(prepare().public.path) if force else None
    read_end, write_end = os.pipe()

    def wait(what: str, done: int, total: int) -> None:
        if what == "test" and done == 1:
            os.write(write_end, b"now")
            time.sleep(600)

    child = os.fork()
    if child == 0:
        try:
            prepare(force=force, progress=wait)
        finally:
            os._exit(1)
    assert os.read(read_end, 3) == b"now"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert beside(public.path, "partial").exists()
    assert (tree(public.path) if public.path.exists() else None) == before

    notices: list[str] = []
    prepared = prepare(force=force, notices=notices)
    assert notices == [f"{public.path}: leftovers of an interrupted preparation were removed"]
    assert seal.verify(prepared.public, prepared.hidden) == prepared.seal
    assert not list(public.path.parent.glob(".*"))


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="needs root on Linux"
)
def test_a_disk_that_is_really_full(tmp_path):
    """On a file system of 1 MB: one line, exit code of a user's mistake, only a lock left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (tmp_path / "c.yaml").write_text(LARGE)
        config, source = load_challenge(str(tmp_path / "c.yaml"))
        started = time.monotonic()
        with pytest.raises(UserError, match="the disk is full; free some space"):
            prepare_module.prepare(
                config, source, Workspace(disk), progress=lambda *_: None, notice=lambda _: None
            )
        assert time.monotonic() - started < 60
        assert set(tree(disk)) == {".locks/large"}, "nothing but the empty lock"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
