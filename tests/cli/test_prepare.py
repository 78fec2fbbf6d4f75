"""What `challenge prepare` says of a folder of photographs; its proposals can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from challenge.cli.main import app

YAML = """
name: mine
images: {source: folder, path: my photographs, size: 32, val: 5, test: 8, shrink: 2}
operator: {kernel: {kind: gaussian, std: 1.0}, boundary: circular}
noise: {sigma: 0.03}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    photographs = tmp_path / "my photographs"
    photographs.mkdir()
    for number in range(14):
        pixels = np.random.default_rng(number).integers(256, size=(66, 70, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(photographs / f"{number}.png")
    (photographs / "film.mov").touch()
    (tmp_path / "mine.yaml").write_text(YAML)
    return tmp_path


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["prepare", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_the_proposed_line_can_be_pasted(folder):
    stdout, stderr = run("./mine.yaml", "name=other", "images.val=4", "--workspace", "a place")
    assert "prepared other: 2 train, 4 val, 8 test" in stdout
    assert "images   averaged over 2x2 pixels (images.shrink); val and test cut to 32x32" in stdout
    assert "passed over 1 file (1 .mov)" in stderr
    assert "warning: fewer than half of the 14 photographs train; more do with" in stderr
    (line,) = [line.strip() for line in stderr.splitlines() if "challenge prepare" in line]
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("challenge", "prepare")
    stdout, stderr = run(*arguments)
    assert "prepared other: 10 train, 1 val, 3 test" in stdout
    assert "fewer than half" not in stderr
    few = "warning: On 3 images no two entries are called different: that takes 12 images."
    assert few in stderr
    assert (folder / "a place" / "public" / "other" / "manifest.json").is_file()
