"""Tomography and magnetic resonance from `prepare` to the verdict, and what a person is told."""

import json

import numpy as np
import pytest

from challenge.data.challenges.challenge import open_challenge
from challenge.data.physics.problem import tensors
from challenge.methods import registry
from challenge.submissions.reports.presentation import problem

SMALL = ["images.size=48", "images.train=4", "images.val=2", "images.test=2"]
BASELINES = {"ct": "fbp", "mri": "zero_filled"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_a_medical_challenge_is_prepared_and_judged(tmp_path, call, name):
    """Total variation is better than the linear baseline; NMSE stands beside PSNR and SSIM."""

    def did(*arguments):
        done = call(tmp_path, *arguments)
        assert done.code == 0, done.err
        return done

    window = "images.values={unit: au, low: 0, high: 1, window: [0.1, 0.4]}"
    said = did("prepare", name, *SMALL, window).out
    assert "0 to 1 is 0 to 1 au, the range of scores; pictures show 0.1 to 0.4 au" in said
    baseline = BASELINES[name]
    did("train", baseline, f"challenge={name}")
    did("train", "tv", f"challenge={name}", "method.weight=0.0005")
    found = {}
    for run in (baseline, "tv"):
        did("infer", f"workspace/runs/{name}/{run}")
        scored = did("score", f"workspace/runs/{name}/{run}", "--json").out
        found[run] = json.loads(scored)
        assert 0 < found[run]["nmse"]["mean"] < 1
        assert all(image["nmse"] > 0 for image in found[run]["images"])
    assert found["tv"]["psnr"]["mean"] > found[baseline]["psnr"]["mean"] + 2
    assert "NMSE" in did("score", f"workspace/runs/{name}/tv").out
    did("pack", f"workspace/runs/{name}/tv", "--team", "alpha")
    verdict = did("score", "workspace/entries/alpha-tv.zip", "--hidden",
                  f"workspace/hidden/{name}", "--json").out  # fmt: skip
    (judged,) = json.loads(verdict)
    assert (judged["outcome"], judged["nmse"]["mean"] > 0) == ("ok", True)
    mean = f"{judged['nmse']['mean']:.4f}"
    (row,) = json.loads(did("board", "--json").out)["rows"]
    assert f"{row['nmse']:.4f}" == mean
    board = did("board").out
    assert "NMSE" in board
    assert mean in board
    pair = [f"workspace/runs/{name}/tv", f"workspace/runs/{name}/{baseline}"]
    compared = did("compare", *pair).out
    assert "NMSE" in compared
    for run in found.values():
        assert f"{run['nmse']['mean']:.4f}" in compared
    assert "the seal holds" in did("seal", name).out


@pytest.mark.parametrize(
    ("name", "word", "baseline"), [("ct", "FBP", "fbp"), ("mri", "zero-filled", "zero_filled")]
)
def test_a_linear_reconstruction_is_called_what_it_is(tmp_path, call, name, word, baseline):
    """As the baseline that it is; and no edge of a mask is the page's white."""
    assert call(tmp_path, "prepare", name, *SMALL).code == 0
    challenge = open_challenge(tmp_path / "workspace/public" / name)
    identity = challenge.ids("val")[0]
    measurement = challenge.measurement("val", identity)
    y, physics = tensors(measurement)
    x_hat = registry.build({"name": baseline})(y, physics)[0].numpy()
    assert measurement.seen_as == word
    np.testing.assert_allclose(measurement.picture, x_hat, atol=1e-4)
    picture, _ = measurement.portrait
    assert {*picture[[0, -1]].ravel(), *picture[:, [0, -1]].ravel()} == {0.5}
    assert f"{word} of y" in str(problem.section(challenge))


def test_patches_of_a_scan_are_warned_of(tmp_path, call):
    assert call(tmp_path, "prepare", "ct", *SMALL).code == 0
    settings = ["challenge=ct", "method.net.width=4", "train.batch=1"]
    steps = ["train.steps=1", "train.minutes=null", "train.evaluate=1", "train.tune=1"]
    for patch, told in ((24, True), (48, False)):
        given = [*settings, *steps, f"train.patch={patch}", "--force"]
        done = call(tmp_path, "train", "network", *given)
        assert done.code == 0, done.err
        said = "smaller scans than the images of 48, which `ct` sees as a whole: better give"
        assert (said in " ".join(done.err.split())) == told


@pytest.mark.parametrize(
    ("challenge", "method", "knobs", "says"),
    [
        ("mri", "fbp", (), "`fbp`: is for the operators ct; that of `mri` is mri"),
        ("ct", "zero_filled", (), "`zero_filled`: is for the operators mri; that of `ct` is ct"),
        (
            "mri",
            "network",
            ("method.channels=3",),
            "`method.channels`: is `3`, the images of `mri` have `2`; give `method.channels=2`",
        ),
        ("ct", "bilevel", (), "`bilevel`: is for the operators blur, identity; that of `ct` is ct"),
    ],
)
def test_what_cannot_run_says_so_in_one_line(tmp_path, call, challenge, method, knobs, says):
    assert call(tmp_path, "prepare", challenge, *SMALL).code == 0
    done = call(tmp_path, "train", method, f"challenge={challenge}", *knobs)
    assert done.code == 2
    (line,) = (each for each in done.err.splitlines() if each.startswith("error"))
    assert says in line


def test_the_hidden_folder_is_revealed_without_the_names_of_files(tmp_path, call):
    """`seal` says so, and holds of the folder without them: nothing else in it names a file."""
    for number in range(5):
        folder = tmp_path / "scans" / f"Doe_Jane_{number}"
        folder.mkdir(parents=True)
        np.save(folder / "a.npy", np.random.default_rng(number).random((32, 32)))
    slices = ["images={source: slices, path: scans, size: 32, val: 1, test: 2}"]
    assert call(tmp_path, "prepare", "ct", *slices, "operator.views=5").code == 0
    hidden = tmp_path / "workspace/hidden/ct"
    advice = "publish workspace/hidden/ct without sources.json, which names files of yours"
    done = call(tmp_path, "seal", "ct")
    assert (done.code, advice in done.err) == (0, True), done.err
    (hidden / "sources.json").unlink()
    for path in (path for path in hidden.rglob("*") if path.is_file()):
        assert b"Doe_Jane" not in path.read_bytes(), path
    done = call(tmp_path, "seal", "ct")
    assert (done.code, "publish" in done.err) == (0, False), done.err
    assert "the seal holds" in done.out
