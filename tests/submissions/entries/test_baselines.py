"""The packed entries that come with the toolkit: small, whole, described, and worth having."""

import copy
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from challenge.configs import loader
from challenge.data import noise
from challenge.data.images import codec, phantoms, sources
from challenge.data.physics import camera_shake, families
from challenge.data.physics.problem import Problem, open_problem, tensors
from challenge.methods.plug_and_play.denoisers import denoise
from challenge.methods.registry import build
from challenge.methods.transforms.symmetries import SYMMETRIES, turn, turn_back
from challenge.methods.transforms.turned_operator import turned
from challenge.submissions import layout
from challenge.submissions.entries import weights
from challenge.submissions.entries.check import check
from challenge.submissions.entries.load import load
from challenge.submissions.entries.pack import repack_baseline
from challenge.submissions.scoring.metrics import psnr

BASELINES = layout.baselines()
DENOISERS = {path.stem for path in layout.denoisers().values()}
MEDICINE = layout.medicine()
UNTRAINED = {"pnp", "gs_pnp", "diffusion", "ensemble"}
"""These learn a few numbers: the denoiser or the method that they hold was trained before."""
PRIORS = {"autoencoder", "vae"}
"""Better than the Wiener filter, which is all that is asked of them."""
LONG = [pytest.param("diffusion", marks=pytest.mark.slow)]
"""It draws eight images."""
LEAST = {"unet": 1.0, "unrolled": 1.0, "ensemble": 1.5}
"""Gains over total variation in dB."""
LEAST_DENOISED = {"drunet": 1.0}
"""Gains in dB over total variation and wavelets, whichever is better."""


def test_there_is_a_u_net():
    assert "unet" in BASELINES


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_small_whole_and_described(name):
    path = BASELINES[name]
    assert path.stat().st_size <= 20_000_000
    assert check(path) == []
    with zipfile.ZipFile(path) as file:
        manifest = json.loads(file.read("manifest.json"))
        config = yaml.safe_load(file.read("config.yaml"))
        content = file.read("weights.safetensors")
    training = manifest["training"]
    assert training["images"] > 100
    assert training["seconds"] > (0 if name in UNTRAINED else 60)
    held = [each["sha256"] for each in manifest.get("parts", {}).values()]
    assert name not in UNTRAINED or (held and all(held))
    assert training["peak_memory"] > 1e8
    assert "cores" in training["machine"]
    assert training["seed"] == config["seed"]
    assert manifest["uses"]["external_data"]
    tensors, _ = weights.read_header(io.BytesIO(content), len(content))
    large = [each for each in tensors if math.prod(each.shape) > 4096]
    assert all(each.dtype == "F16" for each in large)


def test_all_baselines_together_are_small():
    assert sum(path.stat().st_size for path in BASELINES.values()) <= 60_000_000


def test_the_best_one_is_the_mean_over_all_eight_positions_of_what_it_holds():
    entry = load(BASELINES["ensemble"])
    problem = Problem.of_kernels(camera_shake.camera_shake(9, 1, 0).astype(np.float32), 0.05)
    y, physics = problem.measure(torch.rand(1, 3, 32, 48), [0])
    with torch.no_grad():
        turns = [
            turn_back(entry.of(turn(y, which), turned(physics, which)), which)
            for which in range(SYMMETRIES)
        ]
        found = entry(y, physics)
    torch.testing.assert_close(found, torch.stack(turns).mean(0))
    assert (found - turns[0]).abs().max() > 1e-3


OTHERS = sorted({*BASELINES} - DENOISERS - {*MEDICINE, "diffusion"})


@pytest.mark.parametrize("name", [*OTHERS, *LONG])
def test_a_baseline_is_better_than_wiener_and_total_variation(name):
    method = load(BASELINES[name])
    folder = Path(loader.__file__).parent
    kernel = np.load(folder / "kernels" / "motion.npy").astype(np.float32)[None]
    problem = Problem.of_kernels(kernel, 0.03)
    gains = {"wiener": [], "tv": []}
    for image in ("astronaut.png", "coffee.png", "chelsea.png"):
        truth = codec.to_unit(sources.builtin(image, 512)[:, 100:228, 100:228])
        measurement = problem.measure_stored(truth, image, b"baseline")

        def quality(one, measurement=measurement, truth=truth):
            with torch.no_grad():
                x_hat = one(*tensors(measurement))[0].numpy()
            return psnr(estimate=x_hat, truth=truth)

        for method_name, found in gains.items():
            knobs = {"weight": 0.007} if method_name == "tv" else {}
            other = build({"name": method_name, **knobs})
            found.append(quality(method) - quality(other))
    assert name in PRIORS or np.mean(gains["tv"]) > LEAST.get(name, 0.2)
    assert np.mean(gains["wiener"]) > 1 + LEAST.get(name, 0.2)


@pytest.mark.parametrize("name", sorted(DENOISERS))
def test_a_denoiser_is_better_than_those_without_training(name):
    method = load(BASELINES[name])
    others = [build({"name": "tv", "weight": "usual"}), build({"name": "wavelet"})]
    for level in (15 / 255, 25 / 255):
        gains = []
        for seed, image in enumerate(("astronaut.png", "coffee.png", "chelsea.png")):
            truth = codec.to_unit(sources.builtin(image, 512)[:, 100:228, 100:228])
            generator = torch.Generator().manual_seed(seed)
            x = torch.from_numpy(truth)[None]
            noisy = x + level * torch.randn(x.shape, generator=generator)

            def quality(one, noisy=noisy, truth=truth, level=level):
                with torch.no_grad():
                    x_hat = denoise(one, noisy, level)[0].numpy()
                return psnr(estimate=x_hat, truth=truth)

            gains.append(quality(method) - max(quality(other) for other in others))
        assert np.mean(gains) > LEAST_DENOISED.get(name, 0.0)


@pytest.mark.parametrize("name", sorted(MEDICINE))
def test_a_baseline_of_medicine_is_better_than_the_linear_one(name):
    """Measured on a phantom; over total variation a network that is to win has to be trained."""
    config, _ = loader.load_challenge(name.partition("-")[0])
    truth = phantoms.draw(noise.generator(3, name), config.images.size, config.images.mode)
    family = families.of(config.operator)
    arrays = family.load(config.operator, truth.shape, None, lambda words: None)
    problem = open_problem(config, arrays, 0)
    measurement = problem.measure_stored(truth, name, b"baseline")
    with torch.no_grad():
        x_hat = load(MEDICINE[name])(*tensors(measurement))[0].numpy()
    linear = psnr(estimate=measurement.picture, truth=truth)
    assert psnr(estimate=x_hat, truth=truth) > linear + 3


def test_a_baseline_is_packed_for_the_challenge_that_judges_it(workspace, challenge, make_entry):
    roomy = copy.copy(challenge)
    limits = challenge.config.limits.model_copy(update={"weights_mb": 100.0})
    roomy.config = challenge.config.model_copy(update={"limits": limits})
    assert check(BASELINES["unet"], roomy) != []  # as it lies there, it is for another one
    packed = repack_baseline(BASELINES["unet"], workspace, roomy, None)
    assert packed == layout.entry(workspace, "baseline", "unet")
    assert check(packed, roomy) == []
    before = packed.read_bytes()
    repack_baseline(BASELINES["unet"], workspace, roomy, None)
    assert packed.read_bytes() == before
    other = make_entry()
    assert repack_baseline(other, workspace, roomy, None) == other
