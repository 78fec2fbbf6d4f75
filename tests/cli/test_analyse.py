"""`challenge analyse` from outside: tables, JSON, a picture, and what the clumsy user is told."""

import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from challenge.cli import analyse
from challenge.cli.shared import console as printing
from challenge.submissions import layout

pytestmark = pytest.mark.slow
SHRINK = '''
"""Shrinks towards the mean."""
from challenge.methods import Method


class Shrink(Method):
    """x_hat = (y + mean y) / 2"""

    operators = ("identity",)

    def forward(self, y, physics):
        return (y + y.mean((2, 3), keepdim=True)) / 2
'''
RUN = "workspace/runs/denoising/shrink"
QUICK = ["--images", "1", "--size", "16", "--iterations", "20", "--levels", "5/255,0.1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, call):
    folder = tmp_path_factory.mktemp("analyse")
    (folder / "shrink.py").write_text(SHRINK)
    small = ["images.train=4", "images.val=1", "images.test=1", "images.size=32"]
    (folder / "same.py").write_text(SHRINK.replace("(y + y.mean((2, 3), keepdim=True)) / 2", "y"))
    for name in ("shrink", "same"):
        config = f"challenge: denoising\nmethod: {{name: {name}.py}}\n"
        (folder / f"{name}.yaml").write_text(config)
    trains = [["train", "shrink.yaml"], ["train", "same.yaml"]]
    for command in (["prepare", "denoising", *small], *trains):
        done = call(folder, *command)
        assert done.code == 0, done.err
    return folder


def test_a_run_is_analysed(place, call):
    done = call(place, "analyse", RUN, *QUICK, "--json", "--out", "x.png")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["kind"], found["precision"]) == ("denoiser", "float32")
    assert [round(255 * each["level"], 1) for each in found["levels"]] == [5, 25.5]
    for level in found["levels"]:
        assert max(level["norms"]["D"].values()) == pytest.approx(1, rel=1e-3)
        assert max(level["norms"]["I - D"].values()) == pytest.approx(0.5, rel=1e-3)
    assert [each["name"] for each in found["theorems"]][:2] == ["Banach", "Krasnoselskii-Mann"]
    with Image.open(place / "x.png") as picture:
        assert picture.width > 500


def test_the_tables_fit(place, call, monkeypatch):
    for columns in (80, 60):
        monkeypatch.setattr(
            printing,
            "console",
            lambda *, stderr=False, columns=columns: Console(
                file=printing.sys.stderr if stderr else printing.sys.stdout,
                width=columns,
                highlight=False,
                markup=False,
            ),
        )
        done = call(place, "analyse", RUN, *QUICK)
        assert done.code == 0, done.err
        assert max(map(len, done.out.splitlines())) <= columns
        for words in ("Krasnoselskii-Mann", "not certified", "holds", f"{RUN}/analysis.png"):
            assert words in done.out
    assert (place / RUN / "analysis.png").is_file()


def test_what_it_comes_to_is_said(place, call):
    done = call(place, "analyse", RUN, *QUICK)
    said = " ".join(done.out.split())
    assert "No theorem proves that it converges." in said
    assert "In 20 steps the change of a step went from " in said
    assert "it is the identity" not in said
    done = call(place, "analyse", RUN.replace("shrink", "same"), *QUICK)
    assert "it is the identity, and denoises nothing" in " ".join(done.out.split())
    assert "Warning" not in done.err


def test_the_picture_of_a_baseline_is_not_put_into_the_toolkit():
    packed = layout.denoisers()["baseline/drunet"]
    assert analyse._picture(packed) == Path("drunet.analysis.png")
    mine = Path("workspace/entries/alpha-drunet.zip")
    assert analyse._picture(mine) == Path("workspace/entries/alpha-drunet.analysis.png")


MISTAKES = [
    (["--levels", "5/0"], "`5/0` is no noise level"),
    (["--levels", "5"], "`5` is no noise level"),
    (["--levels", "0.1,x"], "`x` is no noise level"),
    (["--algorithm", "sgd"], "`sgd` is none; give one of pgd"),
    (["--step", "0"], "give a number above 0"),
    (["--step", "nan"], "give a number above 0"),
    (["--out", "x.jpg"], "is not the name of a PNG"),
    (["--out", "no/x.png"], "there is no folder"),
    (["--challenge", "nothing"], "is not a prepared challenge"),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_a_mistake_is_one_line(place, call, options, words):
    done = call(place, "analyse", RUN, *options)
    assert done.code == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_method_of_which_no_theorem_speaks(challenge):
    done = challenge("analyse", "workspace/runs/deblur/tv")
    assert done.code == 2
    assert "no theorem about denoisers speaks" in done.err
    assert len(done.err.splitlines()) == 1
