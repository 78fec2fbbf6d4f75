"""`challenge report`: one file of one or several methods; what is not there is a sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

TV = "workspace/runs/deblur/tv"
CHAPTERS = ("problem", "architecture", "training", "evaluation", "time", "reproduction")


@pytest.fixture(scope="module")
def written(story, call, tmp_path_factory):
    """The report of a run and of one that is not finished, made twice, and its files."""
    folder = tmp_path_factory.mktemp("report")
    other = story / "workspace/runs/deblur/unfinished"
    shutil.copytree(story / TV, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"state": "started"}))
    (other / "weights.safetensors").unlink()
    try:
        common = ["report", TV, "workspace/runs/deblur/unfinished", "--quick", "--out"]
        first = call(story, *common, folder / "a.html", "--files", folder / "files")
        second = call(story, *common, folder / "b.html")
        assert (first.code, second.code) == (0, 0), first.err + second.err
    finally:
        shutil.rmtree(other)
    return folder, first


def test_every_chapter_is_there(written):
    folder, done = written
    text = (folder / "a.html").read_text()
    assert [*re.findall(r'<section id="([a-z]+)"', text)] == [*CHAPTERS]
    assert f"open {folder}/a.html" in " ".join(done.out.split())
    for words in ("Total variation: few, sharp edges.", "95 % bootstrap-t", "challenge train tv"):
        assert words in text
    names = {path.name for path in (folder / "files").iterdir()}
    assert {"scores.csv", "scores.md", "spectrum.svg", "spectrum.png", "time.svg"} <= names


def test_what_a_run_lacks_is_a_sentence(written):
    folder, done = written
    text = (folder / "a.html").read_text()
    assert "unfinished: no scores" in text and "Nothing was measured of: unfinished." in text
    assert "unfinished: not opened" in text
    assert "unfinished: refused" in done.err
    assert "Traceback" not in done.err


def test_the_same_input_is_the_same_bytes(written):
    folder, _ = written
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom challenge.cli.main import main\n"
        "sys.argv = ['challenge', 'report', '--help']\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"torch", "deepinv", "numpy", "scipy", "matplotlib", "PIL", "jinja2"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "x.pdf"], "is not the name of an HTML file; give a file such as `report.html`"),
        (["--slides", "--out", "."], "is a folder; give a file such as `slides.html`"),
        (["--files", "workspace/public/deblur/manifest.json"], "is a file; give a folder"),
        (["--images", "none"], "`none` is not an image of val"),
    ],
)
def test_a_mistake_is_one_line(challenge, options, said):
    done = challenge("report", TV, *options)
    assert done.code == 2
    assert said in " ".join(done.err.split())
