"""The packed entries that come with the toolkit: small, whole, described, and worth having."""

import copy
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from challenge.configs import loader
from challenge.data import reading, sources
from challenge.data.operators import tensors
from challenge.data.problem import measure_stored
from challenge.methods.registry import build
from challenge.submissions import layout, runs, weights
from challenge.submissions.check import check
from challenge.submissions.metrics import psnr
from challenge.submissions.pack import adopt

BASELINES = layout.baselines()


def test_there_is_a_u_net():
    assert "unet" in BASELINES


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_small_whole_and_described(name):
    path = BASELINES[name]
    assert path.stat().st_size <= 8_000_000
    assert check(path) == []
    with zipfile.ZipFile(path) as file:
        manifest = json.loads(file.read("manifest.json"))
        config = yaml.safe_load(file.read("config.yaml"))
        content = file.read("weights.safetensors")
    training = manifest["training"]
    assert training["images"] > 100
    assert training["seconds"] > 60
    assert training["peak_memory"] > 1e8
    assert "cores" in training["machine"]
    assert training["seed"] == config["seed"]
    assert manifest["uses"]["external_data"]
    tensors, _ = weights.read_header(io.BytesIO(content), len(content))
    kinds = {each.dtype for each in tensors if each.name.startswith("net.")}
    assert kinds == {"F16"}


def test_the_u_net_is_far_better_than_wiener_and_total_variation():
    method = runs.load(BASELINES["unet"])
    folder = Path(loader.__file__).parent
    kernel = torch.from_numpy(np.load(folder / "kernels" / "motion.npy")).float()[None, None]
    gains = {"wiener": [], "tv": []}
    for name in ("astronaut.png", "coffee.png", "chelsea.png"):
        truth = reading.to_unit(sources.builtin(name, 512)[:, 100:228, 100:228])
        measurement = measure_stored(truth, kernel, (0.03, 0.03), "circular", b"baseline", name)

        def quality(one, measurement=measurement, truth=truth):
            x_hat = one(*tensors(measurement))[0].detach().numpy()
            return psnr(estimate=x_hat, truth=truth)

        for method_name, found in gains.items():
            knobs = {"weight": 0.007} if method_name == "tv" else {}
            other = build({"name": method_name, **knobs})
            found.append(quality(method) - quality(other))
    assert np.mean(gains["wiener"]) > 2
    assert np.mean(gains["tv"]) > 1


def test_a_baseline_is_packed_for_the_challenge_that_judges_it(workspace, challenge, make_entry):
    roomy = copy.copy(challenge)
    limits = challenge.config.limits.model_copy(update={"weights_mb": 100.0})
    roomy.config = challenge.config.model_copy(update={"limits": limits})
    assert check(BASELINES["unet"], roomy) != []  # as it lies there, it is for another one
    packed = adopt(BASELINES["unet"], workspace, roomy, None)
    assert packed == layout.entry(workspace, "baseline", "unet")
    assert check(packed, roomy) == []
    before = packed.read_bytes()
    adopt(BASELINES["unet"], workspace, roomy, None)
    assert packed.read_bytes() == before
    other = make_entry()
    assert adopt(other, workspace, roomy, None) == other
