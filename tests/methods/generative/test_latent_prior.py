"""Training on images alone: what is logged, measured and drawn, and what is refused."""

from pathlib import Path

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import split_tune
from challenge.methods import registry
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.generative import latent_prior
from challenge.methods.generative.latent_energy import Point
from challenge.methods.training import patches
from challenge.methods.training.evaluation import quality

NAMES = ["autoencoder", "vae"]
NET = {"latent": 6, "width": 8, "depth": 1, "blocks": 1, "shuffle": 2}
TRAIN = {"steps": 60, "batch": 4, "patch": 16, "tune": 1, "evaluate": 30, "lr": 1e-2}


def make(name, **knobs):
    torch.manual_seed(0)
    return registry.build({"name": name, "net": NET, **knobs}, Path())


@pytest.fixture(scope="module", params=NAMES)
def learned(request):
    method, session = make(request.param, inference={"iterations": 10}), ToySession()
    method.fit(toy_problem(boundary="valid"), toy_images(6), TrainConfig(**TRAIN), session)
    return method.eval(), session


def test_a_training_sees_images_alone_and_logs_their_reconstruction(learned):
    """The PSNR of the log is that of G(E(x)), whatever the operator."""
    method, session = learned
    seen = {line["step"]: line["psnr"] for line in session.lines if "psnr" in line}
    assert seen[60] > seen[0] + 0.5
    _, tune = split_tune(toy_images(6), 1, 0)
    with torch.no_grad():
        x = tune[0][None]
        made = latent_prior.reconstruct(method, x, None).clamp(0, 1)
    assert -10 * float((made - x).square().mean().log10()) == pytest.approx(seen[60], abs=0.05)


def test_the_operator_changes_nothing_of_what_is_trained():
    few = TrainConfig(**{**TRAIN, "steps": 3, "evaluate": 3})
    trained = []
    for operator in ("blur", "inpainting"):
        method = make("vae", inference={"iterations": 1})
        method.fit(toy_problem(operator=operator), toy_images(4), few, ToySession())
        trained.append(list(method.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def test_the_curve_of_the_data_term_is_in_the_log(learned):
    _, session = learned
    curve = [line for line in session.lines if "data_term" in line]
    assert [line["step"] for line in curve] == list(range(11))
    assert curve[-1]["energy"] < curve[0]["energy"]
    assert all(0 < line["data_term"] < 20 and line["inference_psnr"] > 5 for line in curve)


def test_what_is_measured_after_the_training_travels_with_the_weights(learned):
    method, _ = learned
    x = torch.stack(list(toy_images(6)))
    with torch.no_grad():
        missed = (latent_prior.reconstruct(method, x, None) - x).square().mean()
    assert float(method.prior.log_variance.exp()) == pytest.approx(float(missed), rel=0.5)
    assert {"prior.log_spectrum", "prior.factor", "wiener.log_spectrum"} <= set(method.state_dict())


def test_reconstructions_samples_and_a_walk_are_shown(learned):
    method, _ = learned
    images = [toy_images(2, side=50)[n] for n in range(2)]
    pages = method.pictures(images)
    assert list(pages) == ["latents", "prior", "walk"]
    for rows in pages.values():
        for _, picture in (panel for row in rows for panel in row):
            assert picture.shape == (3, 50, 50)
            assert bool(picture.isfinite().all())
    (samples,), (walk,) = pages["prior"], pages["walk"]
    assert not torch.equal(samples[0][1], samples[1][1])
    for end, row in ((0, 0), (-1, -1)):
        torch.testing.assert_close(walk[end][1], pages["latents"][row][1][1], rtol=0, atol=1e-3)
    assert all(
        torch.equal(a[1], b[1])
        for a, b in zip(samples, method.pictures(images)["prior"][0], strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("knobs", "train", "channels", "text"),
    [
        ({"net": {**NET, "latent": 49}}, {}, 3, "`method.net.latent`: is `49`, .* are 48 numbers"),
        ({"net": {**NET, "latent": 17}, "channels": 1}, {}, 1, "is `17`, .* are 16 numbers"),
        ({"net": {**NET, "depth": 5}}, {}, 3, "64 pixels a side, .*`train.patch=128`"),
        ({}, {}, 1, "`method.channels`: is `3`, .* have `1`"),
        ({"inference": {"step": 10, "iterations": 50}}, {"lr": 1e30}, 3, "loss|gradient|energy"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(name, knobs, train, channels, text):
    problem, images = toy_problem(channels=channels), toy_images(3, channels)
    settings = TrainConfig(**{**TRAIN, "steps": 3, **train})
    with pytest.raises(UserError, match=text) as caught:
        make(name, **knobs).fit(problem, images, settings, ToySession())
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_is_lost_says_after_which_step_and_what_to_do(name):
    method = make(name).eval()
    y, physics = toy_problem().measure(torch.stack(list(toy_images(2))), [0, 1])
    with torch.no_grad():
        next(method.nets["decoder"].parameters()).fill_(float("nan"))
    with pytest.raises(
        UserError, match=r"energy of `nan` after 0 of 40 steps.*method.inference.step"
    ):
        method(y, physics)
    y, physics = toy_problem(1).measure(torch.stack(list(toy_images(2, 1))), [0, 1])
    with pytest.raises(UserError, match=r"made for `3`, the measurement has `1`"):
        method(y, physics)


def test_what_is_evaluated_may_be_another_estimate_than_the_forward():
    method, tune = make("vae").eval(), toy_images(2)
    problem = toy_problem(operator="identity")
    found = quality(method, tune, problem, torch.device("cpu"), lambda kept, y, physics: y)
    assert found.psnr == pytest.approx(31, abs=3)


def test_latents_that_say_nothing_are_told(learned):
    method, _ = learned
    assert method.advice(toy_problem(), toy_images(6)) is None
    silent = make("vae")
    with torch.no_grad():
        for parameter in silent.nets["encoder"].parameters():
            parameter.zero_()
    assert "none of the 6 channels" in silent.advice(toy_problem(), toy_images(6))


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
@pytest.mark.parametrize(
    ("idle", "read"),
    [
        ({"kind": "latent", "residual": "white"}, {"kind": "joint", "residual": "white"}),
        ({"seed": 3}, {"seed": 3, "restarts": 2}),
    ],
)
def test_a_knob_of_the_search_that_nothing_reads_is_refused(name, idle, read):
    make(name, inference=read)
    with pytest.raises(UserError, match=r"`method.inference.\w+`: is not read with"):
        make(name, inference=idle)


@pytest.mark.parametrize("name", NAMES)
def test_complex_images_keep_their_signs(name, monkeypatch):
    """The search begins at an estimate with its phase; the right image has the highest PSNR."""
    problem = toy_problem(operator="mri")
    images = toy_images(4, channels=2)
    method, session = (
        make(name, channels=2, inference={"iterations": 1, "restarts": 1}),
        ToySession(),
    )
    seen = []
    encode = latent_prior.encode
    monkeypatch.setattr(latent_prior, "encode", lambda m, x: seen.append(x) or encode(m, x))
    few = TrainConfig(**{**TRAIN, "steps": 1, "evaluate": 1, "tune": 1})
    method.fit(problem, images, few, session)
    assert min(float(x.min()) for x in seen) < -0.05

    _, tune = split_tune(images, 1, 0)
    x, *_ = patches.tune_batch(tune, problem, 0, torch.device("cpu"))
    right = Point(x[None], torch.zeros(1, 1), torch.zeros(1, 1))
    monkeypatch.setattr(latent_prior, "points", lambda *_: iter([right]))
    monkeypatch.setattr(latent_prior, "reconstruct", lambda method, x, _: x)
    latent_prior._try_out(method, problem, tune, session)
    assert session.lines[-1]["inference_psnr"] == pytest.approx(100)
    ((_, caption),) = (row for row in latent_prior.pictures(method, [images[0]])["latents"])
    assert caption[0] == "G(E(x)) 100.00 dB"
