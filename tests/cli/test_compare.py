"""`challenge compare`: one table, one picture, one line for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from challenge.cli import compare
from challenge.cli.shared import kinds

TV = "workspace/runs/deblur/tv"
ENTRY = "workspace/entries/alpha-tv.zip"


@pytest.fixture(autouse=True)
def clean(story):
    yield
    (story / "comparison.png").unlink(missing_ok=True)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom challenge.cli.main import main\n"
        "sys.argv = ['challenge', 'compare', '--help']\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "typer" in loaded
    assert not loaded & {"torch", "deepinv", "numpy", "skimage", "scipy", "matplotlib", "PIL"}


def test_a_run_and_its_entry_are_one_method(challenge, story):
    done = challenge("compare", TV, ENTRY, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    run, entry = found["methods"]
    scored = json.loads(challenge("score", TV, "--json").out)
    assert {key: run[key] for key in scored} == scored
    assert entry["images"] == run["images"]
    assert run["difference"] == entry["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert (run["name"], entry["name"], found["first"]) == ("tv", "alpha-tv", "tv")
    assert (run["reused"], entry["reused"]) == (True, False)
    assert run["seconds"] > 0
    assert found["challenge"] == "deblur"
    picture = np.asarray(Image.open(story / "comparison.png"))
    assert picture.shape[1] * 9 == picture.shape[0] * 16
    ids = [each["id"] for each in run["images"]]
    assert {each["id"] for each in found["picture"]["images"]} <= {*ids}


@pytest.mark.slow
def test_five_methods_fit_into_eighty_columns(challenge, story, tmp_path):
    """Even with long names, and scores of the widest form."""
    names = ["tv", "a-rather-long-name-of-a-run", "network_without_any_hyphen", "e", "f"]
    paths = [TV]
    for name in names[1:]:
        paths.append(f"workspace/runs/deblur/{name}")
        shutil.copytree(story / TV, story / paths[-1])
    try:
        out = tmp_path / "where.png"
        done = challenge("compare", *paths, "--out", out)
    finally:
        for path in paths[1:]:
            shutil.rmtree(story / path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert f"look at {out}" in lines
    assert out.is_file() and not (story / "comparison.png").exists()
    table = lines[: lines.index(f"look at {out}")]
    assert max(len(line.rstrip()) for line in table) <= 80
    assert sum("+0.00 [0.00, 0.00]" in line for line in table) == 4
    assert "over tv" in done.out
    assert "deblur, 2 images of val" in done.out


def test_one_method_has_nothing_to_differ_from(challenge):
    done = challenge("compare", TV)
    assert done.code == 0
    assert "over" not in done.out


def test_images_can_be_chosen(challenge, story):
    identity = sorted(path.stem for path in (story / "workspace/public/deblur/val").glob("*.npz"))[
        1
    ]
    done = challenge("compare", TV, "--images", identity, "--json")
    (shown,) = json.loads(done.out)["picture"]["images"]
    assert shown["id"] == identity


def test_a_method_that_fails_is_a_row(challenge, story):
    bad = "workspace/runs/deblur/bad"
    shutil.copytree(story / TV, story / bad)
    try:
        record = json.loads((story / bad / "run.json").read_text())
        (story / bad / "run.json").write_text(json.dumps(record | {"state": "started"}))
        done = challenge("compare", bad, TV)
        machine = challenge("compare", bad, TV, "--json")
        alone = challenge("compare", bad)
    finally:
        shutil.rmtree(story / bad)
    assert (done.code, machine.code, alone.code) == (1, 1, 2)
    (row,) = [line for line in done.out.splitlines() if line.split()[:1] == ["bad"]]
    assert row.split() == ["bad", "refused"]
    assert "bad: refused: workspace/runs/deblur/bad: is not finished; finish it with" in done.err
    assert "look at comparison.png" in done.out
    found = json.loads(machine.out)
    assert [each["name"] for each in found["methods"]] == ["tv"]
    assert [(each["name"], each["outcome"]) for each in found["failed"]] == [("bad", "refused")]


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ((TV, "workspace/runs/deblur/tvv"), ["tvv: does not exist; give a run's folder"]),
        ((TV, "wavelet"), ["wavelet: does not exist; `wavelet` is a method: make a run of it"]),
        ((TV, "workspace"), ["workspace: is a workspace; give a run's folder"]),
        (
            (TV, "workspace/public/deblur/manifest.json"),
            ["json: is a file; give a run's folder"],
        ),
        ((TV, "--out", "workspace"), ["--out workspace: is a folder; give a file such as"]),
        ((TV, "--out", "comparison.jpg"), ["is not the name of a PNG"]),
        ((TV, "--images", "typo"), ["`typo` is not an image of val; there are 2, such as"]),
        ((TV, "--isolation", "tower"), ["there is no level `tower`"]),
        ((TV, "--workspace", "empty"), ["empty/public/deblur: is not a prepared challenge"]),
    ],
)
def test_a_mistake_is_one_line(challenge, story, arguments, texts):
    done = challenge("compare", *arguments)
    assert done.code == 2
    assert done.err.count("error: ") == 1
    assert len(done.err.splitlines()) == 1
    for text in texts:
        assert text in done.err
    assert not (story / "comparison.png").exists()


def test_an_interrupt_is_told_and_leaves_no_picture(challenge, story, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("challenge.submissions.reports.comparison_pictures._draw_row", stop)
    done = challenge("compare", TV)
    assert done.code == 130
    assert "nothing was left half-written" in done.err
    assert not list(story.glob("*comparison.png*"))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (52_830, "52.8 k"), (1_063_000, "1.06 M"), (533_000_000, "533 M")],
)
def test_numbers_of_parameters_are_short(number, text):
    assert compare.count(number) == text


def test_a_folder_that_is_not_ones_own_is_refused_before_the_work(challenge, monkeypatch):
    monkeypatch.setattr(kinds.os, "access", lambda _, mode: mode != os.W_OK)
    done = challenge("compare", TV, "--out", "x.png")
    assert done.code == 2
    assert "--out x.png: nothing can be written in `.`" in done.err
