"""Every operator family from `prepare` to the board, and what a clumsy organiser is told."""

import json

import numpy as np
import pytest
from PIL import Image

from challenge.data.layout import Workspace
from challenge.data.physics.families import FAMILIES
from challenge.data.physics.measurements import read

TINY = "images={source: builtin, size: 64, train: 4, val: 2, test: 2}"


def flow(value):
    """A section as one word of the command line."""
    return json.dumps(value)


CASES = {
    **{
        kind: (flow(family.example), "{sigma: [0, 0.1]}")
        for kind, family in FAMILIES.items()
        if 3 in family.channels
    },
    "photons": (flow({"kind": "identity"}), "{kind: poisson, gain: [0.005, 0.02]}"),
    "box": (
        flow({"kind": "downsampling", "factor": 4, "kernel": {"kind": "box"}}),
        "{kind: poisson_gaussian, gain: 0.01, sigma: 0.02}",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_family_is_prepared_trained_on_and_judged(tmp_path, call, name):
    operator, noise = CASES[name]

    def did(*arguments):
        done = call(tmp_path, *arguments)
        assert done.code == 0, done.err
        return done.out

    did("prepare", "deblur", "name=other", TINY, f"operator={operator}", f"noise={noise}")
    did("train", "network", "challenge=other", "name=net", "train.steps=3", "train.patch=32",
        "train.batch=2", "train.evaluate=3", "method.net.width=8")  # fmt: skip
    did("train", "tv", "challenge=other", "method.weight=null", "method.iterations=30")
    did("infer", "workspace/runs/other/tv")
    did("score", "workspace/runs/other/tv")
    assert "tv" in did("compare", "workspace/runs/other/tv")
    zips = [f"workspace/entries/{run}-{run}.zip" for run in ("net", "tv")]
    for run in ("net", "tv"):
        did("pack", f"workspace/runs/other/{run}", "--team", run)
    judged = json.loads(did("score", *zips, "--hidden", "workspace/hidden/other", "--json"))
    assert [each["outcome"] for each in judged] == ["ok", "ok"]
    # Total variation with a tuned weight is better than what it was given.
    hidden = Workspace(tmp_path / "workspace").hidden("other")
    given = []
    for identity in hidden.ids():
        measurement = read(hidden.measurement(identity))
        truth = np.asarray(Image.open(hidden.image(identity))).transpose(2, 0, 1) / 255
        crop = (truth.shape[1] - measurement.picture.shape[1]) // 2
        inner = truth[:, crop : 64 - crop, crop : 64 - crop]
        given.append(-10 * np.log10(np.square(measurement.picture.clip(0, 1) - inner).mean()))
    assert judged[1]["psnr"]["mean"] > np.mean(given)
    assert did("board", "--json")


MISTAKES = {
    "operator={kind: tomography}": "must be `blur`, `identity`, `inpainting`, `downsampling`, `ct`",
    "noise={kind: rain}": "must be `gaussian`, `poisson` or `poisson_gaussian`",
    "noise={kind: poisson, gain: 0}": "`noise.gain` must be greater than 0",
    "operator={kind: downsampling, factor: 5}": "`operator.factor` must be at most 4",
    "operator={kind: downsampling, factor: 3}": "factor 3 does not divide images of 64 pixels",
    "operator={kind: inpainting, mask: {keep: 50}}": "a share, 50 % is 0.5",
    "operator={kind: inpainting, mask: {file: masks/none.png}}": "masks/none.png: no such file",
    "operator={kind: inpainting, mask: {file: wide.png}}": "64x80 pixels, the images have 64x64",
    "operator={kind: inpainting, mask: {file: black.png}}": "has a mask that sees nothing",
    "operator={kind: compose, operators: [{kind: identity}]}": "must be two to four operators",
    "operator={kind: identity, boundary: valid}": "`operator.boundary` does not go with",
}  # fmt: skip


@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, call, given):
    for name, shape, value in (("wide", (64, 80), 255), ("black", (64, 64), 0)):
        Image.fromarray(np.full(shape, value, np.uint8)).save(tmp_path / f"{name}.png")
    done = call(tmp_path, "prepare", "deblur", TINY, given)
    assert done.code == 2
    said = [line for line in done.err.splitlines() if line.startswith("error")]
    assert len(said) == 1
    assert MISTAKES[given] in said[0]
    assert not (tmp_path / "workspace/public/deblur").exists()


def test_photons_need_an_operator_without_negative_values(tmp_path, call):
    """Bicubic downsampling has them."""
    given = [TINY, "noise={kind: poisson, gain: 0.01}"]
    done = call(tmp_path, "prepare", "superresolution", *given)
    assert done.code == 2
    assert "Poisson noise is for values that are not negative" in done.err
    box = "operator.kernel={kind: box}"
    assert call(tmp_path, "prepare", "superresolution", *given, box).code == 0


def test_a_method_that_needs_a_blur_says_so(tmp_path, call):
    assert call(tmp_path, "prepare", "inpainting", TINY).code == 0
    done = call(tmp_path, "train", "bilevel", "challenge=inpainting")
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: `bilevel`: is for the operators blur, identity; that of `inpainting` is "
        "inpainting; `challenge methods` lists what each method takes"
    ]
    assert not (tmp_path / "workspace/runs").exists()
    options = ["--team", "alpha", "--challenge", "inpainting"]
    done = call(tmp_path, "pack", "bilevel-convex", *options)
    assert done.code == 2
    assert "`bilevel` is for the operators blur, identity; this one is inpainting" in done.err
    listed = json.loads(call(tmp_path, "methods", "--json").out)
    takes = {each["name"]: each["operators"] for each in listed}
    assert takes["bilevel"] == ["blur", "identity"]
    assert takes["tv"] is None
    assert "Takes blur and identity only." in " ".join(call(tmp_path, "methods").out.split())


def test_a_patch_that_the_factor_does_not_divide_is_told(tmp_path, call):
    assert call(tmp_path, "prepare", "superresolution", TINY).code == 0
    settings = ["challenge=superresolution", "train.patch=33", "train.steps=1"]
    done = call(tmp_path, "train", "network", *settings)
    assert done.code == 2
    assert "patches of `33` pixels cannot be downsampled" in done.err
    assert "give `train.patch=32`" in done.err


def test_the_time_of_the_test_set_goes_with_its_pixels(story, monkeypatch):
    from challenge.cli.shared.dry_run import Ahead
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.challenges.test_set import TestSet
    from challenge.submissions.inference import forecast

    asked = []
    machines = type("Machines", (), {"local": None, "judge": None})
    monkeypatch.setattr(forecast, "find_machines", lambda *_: machines)
    monkeypatch.setattr(forecast, "forecast", lambda *arguments: asked.append(arguments))
    place = Workspace(story / "workspace")
    challenge = open_challenge(place.public("deblur").path)
    assert challenge.test.pixels == 64 * 64
    Ahead(place, challenge).forecast(1.0, [0.5, 0.7])
    monkeypatch.setattr(TestSet, "pixels", 4 * 64 * 64)
    Ahead(place, challenge).forecast(1.0, [0.5, 0.7])
    assert [each[:3] for each in asked] == [(1.0, [0.5, 0.7], 3), (1.0, [2.0, 2.8], 3)]
