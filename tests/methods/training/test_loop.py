"""The loop: exact resume, data and learning rate as functions of the step, budget, faults."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images, split_tune
from challenge.data.physics.problem import Problem
from challenge.methods.contract import Method
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.training import guards, loop, patches
from challenge.methods.training.evaluation import quality
from challenge.methods.training.guards import Diverged
from challenge.methods.training.loop import supervised
from challenge.methods.training.losses import mse
from challenge.methods.training.objective import Objective
from challenge.methods.training.schedules import factor
from challenge.submissions.layout import Run
from challenge.submissions.runs.session import RunSession
from challenge.submissions.scoring import metrics

CPU = torch.device("cpu")
STEPS, EVERY = 24, 10
CLOCKED = ("images_per_s", "utilisation")


class Denoiser(Method):
    """Two convolutions, channels-last like the U-Net, with dropout to draw random numbers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Dropout(0.2), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        ).to(memory_format=torch.channels_last)

    def forward(self, y, physics):
        x = physics.A_adjoint(y)
        return x + 0.1 * self.net(x).float()


class Stopping(RunSession):
    """A session whose user asks to stop after a step."""

    def __init__(self, run, after=None, **options):
        super().__init__(run, **options)
        self.after, self.asked = after, 0

    def should_stop(self):
        # Asked before every step: the first time before step 1.
        self.asked += 1
        return self.after is not None and self.asked > self.after


def config(**values):
    # Gradients above the usual are clipped, so that the running norm matters to a resumed run.
    usual = {"steps": STEPS, "batch": 2, "patch": 24, "tune": 1, "evaluate": EVERY, "clip": 1.0}
    given = {**usual, **values}
    return TrainConfig(**given)


def train(folder, after=None, *, resume=False, seed=3, criterion=None, **values):
    torch.manual_seed(seed)
    method = Denoiser()
    session = Stopping(Run(folder), after, seed=seed, precision="float32", resume=resume)
    session.launch()
    supervised(method, toy_problem(), toy_images(), config(**values), session, loss=criterion)
    return method


def log(folder):
    """The log's lines without what the clock decides."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCKED} for line in lines]


def checkpoint(folder):
    """Tensors and state of the checkpoint without what the clock decides."""
    stored = json.loads((folder / "checkpoint" / "state.json").read_text())
    state = {k: v for k, v in stored["state"].items() if "seconds" not in k}
    return load_file(folder / "checkpoint" / stored["tensors"]), state


def same_runs(one, other):
    assert log(one) == log(other)
    (tensors, state), (others, other_state) = checkpoint(one), checkpoint(other)
    assert state == other_state
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def same_weights(one, other):
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)


# An evaluation, with its checkpoint, comes after steps 10, 20 and 24.
@pytest.mark.parametrize("after", [0, 1, 9, 10, 11, 20, 23])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(whole, tmp_path, after):
    folder, method = whole
    train(tmp_path, after)
    assert checkpoint(tmp_path)[1]["step"] == after
    torch.manual_seed(99)
    resumed = train(tmp_path, resume=True)
    same_runs(folder, tmp_path)
    assert same_weights(method, resumed)


def test_a_run_stopped_many_times_is_still_the_same(whole, tmp_path):
    folder, method = whole
    train(tmp_path, 2)
    for _ in range(7):
        resumed = train(tmp_path, 4, resume=True)
    same_runs(folder, tmp_path)
    assert same_weights(method, resumed)


KILLED = """
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_loop as t

def run(folder, seconds):
    def kill(step, total, values):
        if seconds is None and step == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        if seconds is not None and step == 10:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    torch.manual_seed(3)
    session = t.RunSession(t.Run(folder), seed=3, precision="float32", progress=kill)
    session.launch()
    t.supervised(t.Denoiser(), t.toy_problem(), t.toy_images(), t.config(), session)

# A process for each run, but one start for all: a start takes longer than a run.
for folder, seconds in eval(sys.argv[2]):
    child = os.fork()
    if not child:
        run(Path(folder), seconds)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""
DELAYS = [0.004, 0.012, 0.036]


def kill(tmp_path_factory, delays):
    """Runs that were killed: after the log line of step 20 (None), or some seconds after step 10.

    At most one test may go on with each.
    """
    folders = {delay: tmp_path_factory.mktemp("killed") for delay in delays}
    jobs = [(str(folder), delay) for delay, folder in folders.items()]
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), repr(jobs)]
    subprocess.run(command, check=True, timeout=300)
    return folders


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return kill(tmp_path_factory, DELAYS)


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tmp_path_factory):
    # Killed after the log line of step 20, before its checkpoint: step 10's is the last.
    folder = kill(tmp_path_factory, [None])[None]
    assert checkpoint(folder)[1]["step"] == 10
    assert log(folder)[-1]["step"] == 20
    train(folder, resume=True)
    same_runs(whole[0], folder)


def test_resuming_a_finished_run_changes_nothing(whole, tmp_path):
    train(tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    assert same_weights(train(tmp_path, resume=True), whole[1])
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_a_seed_decides_the_weights(whole, tmp_path):
    assert same_weights(train(tmp_path / "same"), whole[1])
    assert not same_weights(train(tmp_path / "other", seed=4), whole[1])


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    train(tmp_path, 2)
    session = RunSession(Run(tmp_path), precision="float32", resume=True)
    session.launch()
    other = Denoiser()
    other.net[0] = nn.Conv2d(3, 8, 5, padding=2)
    with pytest.raises(UserError, match="does not belong to this method"):
        supervised(other, toy_problem(), toy_images(), config(), session)


@settings(max_examples=15, deadline=None)
@given(step=st.integers(0, 10_000), seed=st.integers(0, 2**31))
def test_data_is_a_function_of_the_sample_number(step, seed):
    images, problem = toy_images(), toy_problem()
    x, y, _ = patches.batch(images, problem, config(batch=3), step, seed, CPU)
    for position in range(3):
        single = config(batch=1)
        one = patches.batch(images, problem, single, 3 * step + position, seed, CPU)
        assert torch.equal(one.x[0], x[position])
        torch.testing.assert_close(one.y[0], y[position], atol=1e-6, rtol=0)
    assert not any(torch.equal(x[a], x[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    other = patches.batch(images, problem, config(batch=3), step + 1, seed, CPU)
    assert not torch.equal(other.x, x)
    assert not torch.equal(other.y, y)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "valid"])
def test_measurements_of_patches_have_the_patch_size(boundary):
    problem = toy_problem(boundary=boundary)
    x, y, _ = patches.batch(toy_images(), problem, config(), 0, 0, CPU)
    assert y.shape[-2:] == (24, 24)
    assert patches.scored(x, problem).shape[-2:] == (24, 24)


@pytest.mark.parametrize("crop", [0, 3, 7])
@pytest.mark.parametrize("boundary", ["circular", "reflect", "valid"])
def test_training_counts_the_pixels_that_the_judge_counts(boundary, crop):
    """Tune PSNR and SSIM are the judge's, and no pixel outside its window has a gradient."""
    problem = replace(toy_problem(boundary=boundary), crop=crop)
    method, images = Denoiser().eval(), toy_images(2)
    pairs = []
    for index in range(2):
        x, y, physics = patches.tune_batch(images, problem, index, CPU)
        with torch.no_grad():
            pairs.append({"estimate": method(y, physics)[0].numpy(), "truth": x[0].numpy()})
    psnr, ssim = (
        np.mean([metric(**pair, crop=crop) for pair in pairs])
        for metric in (metrics.psnr, metrics.ssim)
    )
    found = quality(method, images, problem, CPU)
    assert found.psnr == pytest.approx(psnr, abs=1e-5)
    assert found.ssim == pytest.approx(ssim, abs=1e-5)
    x, y, physics = patches.batch(images, problem, config(), 0, 0, CPU)
    x_hat = method(y, physics).detach().requires_grad_()
    objective = Objective(method, mse, lambda *_: x_hat, problem)
    (slope,) = torch.autograd.grad(objective(x, y, physics), x_hat)
    inside = torch.zeros_like(slope, dtype=torch.bool)
    inside[..., crop : x.shape[-2] - crop, crop : x.shape[-1] - crop] = True
    assert bool((slope != 0)[inside].all())
    assert not bool((slope != 0)[~inside].any())
    assert inside[0, 0].sum() >= config().patch ** 2


def test_patches_of_small_images_are_continued_by_mirroring():
    images = toy_images(side=20)
    x, _, _ = patches.batch(images, toy_problem(), config(patch=32), 0, 0, CPU)
    assert x.shape == (2, 3, 32, 32)
    assert {round(v, 4) for v in x.unique().tolist()} <= {
        round(v, 4) for image in images for v in image.unique().tolist()
    }


def test_patches_come_from_everywhere_and_turned():
    ramp = torch.arange(64 * 64).reshape(1, 64, 64).float() / 4096
    images = toy_images(1).of({"ramp": ramp.expand(3, -1, -1)})
    problem = toy_problem()
    x = torch.cat(
        [patches.batch(images, problem, config(batch=8), s, 0, CPU).x[:, 0] for s in range(40)]
    )
    slopes = {
        (bool(p[0, -1] > p[0, 0]), bool(p[-1, 0] > p[0, 0]), bool(abs(p[0, -1] - p[0, 0]) > 0.15))
        for p in x
    }
    assert len(slopes) == 8
    assert x.min() < 0.05 and x.max() > 0.95


def test_training_lowers_the_loss(tmp_path):
    train(tmp_path, steps=60, evaluate=60, lr=3e-3)
    lines = log(tmp_path)
    assert lines[-1]["psnr"] > lines[0]["psnr"] + 0.3


def test_the_weights_left_are_the_best_not_the_last(tmp_path):
    torch.manual_seed(3)
    start = Denoiser()
    left = train(tmp_path, criterion=lambda x_hat, x: -(x_hat - x).square().mean())
    assert same_weights(left, start)
    tensors, state = checkpoint(tmp_path)
    assert state["best_step"] == 0
    assert not torch.equal(tensors["last.net.0.weight"], tensors["best.net.0.weight"])


def test_a_loss_that_is_not_finite_stops_with_a_remedy(tmp_path):
    calls = iter(range(100))

    def breaks(x_hat, x):
        return mse(x_hat, x) * (math.nan if next(calls) == 13 else 1)

    torch.manual_seed(3)
    method = Denoiser()
    session = RunSession(Run(tmp_path), seed=3, precision="float32")
    session.launch()
    with pytest.raises(Diverged) as caught:
        supervised(method, toy_problem(), toy_images(), config(lr=2e-3), session, loss=breaks)
    text = str(caught.value)
    assert "step 13: the loss is `nan`" in text
    assert "learning rate `0.00" in text
    assert "train.lr=0.0007" in text
    tensors, state = checkpoint(tmp_path)
    assert state["step"] == 10
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert f"the best weights, of step {state['best_step']}, are kept" in text
    for name, value in method.state_dict().items():
        assert torch.equal(value, tensors[f"best.{name}"])


def test_a_spike_of_the_gradient_is_clipped(tmp_path):
    calls = iter(range(100))

    def spikes(x_hat, x):
        return mse(x_hat, x) * (1e6 if next(calls) == 15 else 1)

    train(tmp_path / "spike", criterion=spikes, steps=20)
    train(tmp_path / "calm", steps=20)
    spike, calm = (checkpoint(tmp_path / name)[1]["norm"] for name in ("spike", "calm"))
    assert spike < 1.2 * calm


def test_a_clipped_step_is_no_longer_than_the_limit(tmp_path):
    calls = iter(range(100))

    def spikes(x_hat, x):
        return mse(x_hat, x) * (1e6 if next(calls) == 15 else 1)

    plain = {"optimiser": "sgd", "momentum": 0.0, "lr": 1e-3, "schedule": "constant", "clip": 2.0}
    found = {}
    for steps in (15, 16):
        calls = iter(range(100))
        train(tmp_path / str(steps), criterion=spikes, steps=steps, **plain)
        tensors, state = checkpoint(tmp_path / str(steps))
        last = [v.flatten() for n, v in tensors.items() if n.startswith("last.")]
        found[steps] = torch.cat(last), state["norm"]
    moved = (found[16][0] - found[15][0]).norm().item()
    assert moved == pytest.approx(1e-3 * 2.0 * found[15][1], rel=1e-3)
    assert log(tmp_path / "16")[-1]["gradient"] > 1e3 * found[15][1]


class Clock:
    """A clock that ticks at every look."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


def test_minutes_become_steps_after_the_warm_up(tmp_path, monkeypatch):
    # A step looks at the clock three times and takes 0.1 s, an evaluation 0.05 s.
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.05))
    budget = {"steps": None, "minutes": 10 / 60, "batch": 1}
    train(tmp_path, **budget)
    lines = log(tmp_path)
    assert {line["total"] for line in lines if line["step"] < 50} == {None}
    totals = {line["total"] for line in lines if line["step"] >= 50}
    assert len(totals) == 1
    total = totals.pop()
    assert 93 <= total <= 97
    assert lines[-1]["step"] == total
    for line in lines[1:]:
        # The log speaks of the step just done.
        expected = 1e-3 * factor(config(**budget), line["step"] - 1, total)
        assert line["lr"] == pytest.approx(expected)


class Growing(Denoiser):
    """Its steps get dearer, and it takes the time that it says."""

    clock: Clock

    def advance(self, step, total):
        self.clock.now += 0.1 * self.effort(step, total)

    def effort(self, step, total):
        return 0.25 if total is None else 0.25 + 0.75 * step / total


def test_minutes_are_kept_where_steps_get_dearer(tmp_path, monkeypatch):
    Growing.clock = Clock(0.0)
    monkeypatch.setattr(loop.time, "perf_counter", Growing.clock)
    torch.manual_seed(3)
    session = Stopping(Run(tmp_path), None, seed=3, precision="float32", resume=False)
    session.launch()
    values = config(steps=None, minutes=20 / 60, batch=1)
    supervised(Growing(), toy_problem(), toy_images(), values, session)
    assert Growing.clock.now == pytest.approx(20, rel=0.02)
    assert log(tmp_path)[-1]["step"] > 200  # 0.1 s each are 0.0625 s on average


def test_the_timing_is_stored_so_that_a_resumed_run_has_the_same_budget(tmp_path, monkeypatch):
    budget = {"steps": None, "minutes": 10 / 60, "batch": 1}
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.1))
    train(tmp_path, 60, **budget)
    total = checkpoint(tmp_path)[1]["total"]
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.3))
    train(tmp_path, resume=True, **budget)
    assert checkpoint(tmp_path)[1]["step"] == checkpoint(tmp_path)[1]["total"] == total


def test_a_budget_shorter_than_the_warm_up_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.5))
    train(tmp_path, steps=None, minutes=0.2, batch=1)
    assert 10 <= log(tmp_path)[-1]["step"] <= 12


@pytest.mark.parametrize(
    ("values", "images", "text"),
    [
        ({"steps": None}, 4, "says neither `steps` nor `minutes`"),
        ({}, 1, "there is 1, and one is held out"),
    ],
)
def test_what_cannot_be_trained_is_said(values, images, text):
    with pytest.raises(UserError, match=text):
        supervised(Denoiser(), toy_problem(), toy_images(images), config(**values), ToySession())


def test_a_patch_below_the_kernel_is_refused():
    wide = Problem.of_kernels(np.ones((1, 31, 31), np.float32) / 31**2, 0.1)
    with pytest.raises(UserError, match=r"patches of `24` pixels are smaller .* `31`"):
        supervised(Denoiser(), wide, toy_images(), config(), ToySession())


# Every optimiser, schedule and option, resumed


OPTIONS = [
    {"optimiser": "sgd", "lr": 0.1},
    {"optimiser": "sgd", "momentum": 0.0, "lr": 0.1},
    {"optimiser": "adamw", "weight_decay": 0.1},
    {"optimiser": "muon"},
    {"ema": 0.9},
    {"schedule": "plateau", "wait": 1, "evaluate": 4, "lr": 0.05},
    {"schedule": "one_cycle", "augment": {"scale": 0.5}},
    {"clip": None, "loss": "charbonnier"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_is_resumed_exactly(tmp_path, options):
    method = train(tmp_path / "whole", **options)
    train(tmp_path / "parts", 7, **options)
    train(tmp_path / "parts", 9, resume=True, **options)
    resumed = train(tmp_path / "parts", resume=True, **options)
    same_runs(tmp_path / "whole", tmp_path / "parts")
    assert same_weights(method, resumed)


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path):
    train(tmp_path, 2)
    with pytest.raises(UserError, match="does not belong to this method"):
        train(tmp_path, resume=True, optimiser="sgd")


@pytest.mark.slow
@pytest.mark.parametrize("delay", DELAYS)
def test_killed_at_a_random_moment_a_run_goes_on(whole, killed, delay):
    folder = killed[delay]
    assert log(folder)[-1]["step"] >= 10
    train(folder, resume=True)
    same_runs(whole[0], folder)


def test_the_running_mean_is_what_is_evaluated_and_kept(tmp_path):
    left = train(tmp_path, ema=0.95, lr=0.01)
    tensors, state = checkpoint(tmp_path)
    last, mean, best = (
        {n.removeprefix(k): v for n, v in tensors.items() if n.startswith(k)}
        for k in ("last.", "mean.", "best.")
    )
    assert not any(torch.equal(last[name], mean[name]) for name in last)
    assert state["best_step"] == STEPS
    assert all(torch.equal(best[name], mean[name]) for name in best)
    assert all(torch.equal(value, best[name]) for name, value in left.state_dict().items())
    assert state["best_step"] > 0


def test_a_plateau_lowers_the_learning_rate_and_patience_ends_the_run(tmp_path):
    worse = {"criterion": lambda x_hat, x: -mse(x_hat, x), "steps": 60, "evaluate": 5, "lr": 1e-4}
    train(tmp_path / "plateau", schedule="plateau", drop=0.5, wait=2, **worse)
    rates = {line["step"]: line["lr"] for line in log(tmp_path / "plateau") if "lr" in line}
    # Step 0 is the best. The evaluations at 5 and 10 are no better: from step 11 on it is halved.
    assert rates[10] == pytest.approx(1e-4)
    assert rates[15] == rates[20] == pytest.approx(0.5e-4)
    assert rates[30] == pytest.approx(0.25e-4)
    train(tmp_path / "patience", patience=3, **worse)
    assert log(tmp_path / "patience")[-1]["step"] == 15
    train(tmp_path / "resumed", 12, patience=3, **worse)
    train(tmp_path / "resumed", patience=3, resume=True, **worse)
    same_runs(tmp_path / "patience", tmp_path / "resumed")


def test_quality_in_the_log_is_the_judges(tmp_path):
    from challenge.submissions.scoring import metrics

    method = train(tmp_path, steps=1, evaluate=1)
    _, tune = split_tune(toy_images(), 1, 3)
    x, y, physics = patches.tune_batch(tune, toy_problem(), 0, CPU)
    best = max(log(tmp_path), key=lambda line: line.get("psnr", 0))
    with torch.no_grad():
        pair = {"estimate": method(y, physics)[0].numpy(), "truth": x[0].numpy()}
    assert best["psnr"] == pytest.approx(metrics.psnr(**pair), abs=1e-4)
    assert best["ssim"] == pytest.approx(metrics.ssim(**pair), abs=1e-5)


def test_shared_memory_that_is_too_small_is_named():
    """The words are those of torch's loader, whose process the system ends."""
    said = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."
    said += "workers are out of shared memory. Please try to raise your shared memory limit."
    expected = pytest.raises(UserError, match="shared memory: is used up .*train.batch")
    with expected, guards.enough_memory(config()):
        raise RuntimeError(said)


@pytest.mark.parametrize("broken", ["memory", "allocator"])
def test_used_up_memory_says_what_to_reduce(tmp_path, broken):
    def fails(x_hat, x):
        if broken == "memory":
            raise MemoryError
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    with pytest.raises(UserError, match=r"memory: is used up .*give `train.batch=4`, a smaller"):
        train(tmp_path, batch=8, criterion=fails)


def test_another_error_keeps_its_name(tmp_path):
    def fails(x_hat, x):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        train(tmp_path, criterion=fails)


# Augmentation


def ramp_patches(augment, count=64):
    """Patches of an image that rises to the right and, less, downwards: turns can be told."""
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    picture = (0.3 * rows + columns) / 64
    images = toy_images(1).of({"ramp": picture.expand(3, -1, -1)})
    settings = config(batch=count, augment=augment)
    x, _, _ = patches.batch(images, toy_problem(), settings, 0, 0, CPU)
    return x[:, 0]


def turns(x):
    right, down = x[:, 12, 18] - x[:, 12, 6], x[:, 18, 12] - x[:, 6, 12]
    steep = right.abs() > down.abs()
    return {(bool(a > 0), bool(b > 0), bool(c)) for a, b, c in zip(right, down, steep, strict=True)}


@pytest.mark.parametrize(
    ("flips", "rotations", "count"),
    [(True, True, 8), (False, True, 4), (True, False, 2), (False, False, 1)],
)
def test_flips_and_rotations_give_every_turn_they_should(flips, rotations, count):
    assert len(turns(ramp_patches({"flips": flips, "rotations": rotations}))) == count


def test_scaling_shrinks_patches_by_its_range():
    still = {"flips": False, "rotations": False}
    slope = (ramp_patches(still)[:, 12, 18] - ramp_patches(still)[:, 12, 6]) / 12
    torch.testing.assert_close(slope, torch.full_like(slope, 1 / 64), atol=5e-4, rtol=0)
    x = ramp_patches({**still, "scale": 0.5})
    scaled = (x[:, 12, 18] - x[:, 12, 6]) / 12 * 64
    assert 0.95 < scaled.min() < 1.2
    assert 1.7 < scaled.max() < 2.1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_made_ahead_is_the_same_batch(workers):
    share = patches.Share(toy_images(), toy_problem(), config(batch=4), 0, 1, 2)
    with closing(patches.Ahead(share, CPU, workers)) as ahead:
        for step in (3, 4, 5, 9):
            found, expected = ahead.get(step), share.batch(step, CPU)
            assert torch.equal(found.x, expected.x)
            assert torch.equal(found.y, expected.y)
            assert torch.equal(found.physics.A(found.x), expected.physics.A(expected.x))
            assert torch.equal(found.physics.noise_model.sigma, expected.physics.noise_model.sigma)


def test_a_mistake_in_a_batch_made_ahead_is_not_lost():
    share = patches.Share(toy_images().subset([]), toy_problem(), config(), 0)
    with (
        pytest.raises(ValueError, match="high <= 0") as caught,
        closing(patches.Ahead(share, CPU, 1)) as ahead,
    ):
        ahead.get(0)
    assert caught.value, "whose traceback is still held"
    assert not multiprocessing.active_children()


def test_a_users_mistake_in_a_batch_made_ahead_stays_one_line():
    class Unreadable(Images):
        def patch(self, *window):
            raise UserError.of("a.png", "is damaged", "prepare the challenge anew")

    images = Unreadable([Path("a.png")])
    images._kept = {Path("a.png"): np.zeros((1, 32, 32), np.uint8)}
    share = patches.Share(images, toy_problem(), config(), 0)
    with (
        pytest.raises(UserError, match="^a.png: is damaged; prepare"),
        closing(patches.Ahead(share, CPU, 1)) as ahead,
    ):
        ahead.get(0)


@pytest.mark.parametrize(
    ("device", "cores", "processes", "expected"),
    [
        ("cpu", 8, 1, 0),
        ("cuda", 8, 1, 7),
        ("cuda", 8, 2, 3),
        ("cuda", 2, 4, 1),
        ("cuda", 64, 1, 16),
    ],
)
def test_processes_that_make_batches_share_the_cores(
    device, cores, processes, expected, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda number: set(range(cores)))
    assert patches.workers(torch.device(device), processes) == expected


def test_signals_to_all_processes_leave_those_that_make_batches(monkeypatch):
    """From their first moment on, before they are told to leave them."""
    share = patches.Share(toy_images(), toy_problem(), config(batch=4), 0)
    leave = patches._leave_signals

    def late(worker):
        time.sleep(0.5)
        leave(worker)

    def strike():
        children = multiprocessing.active_children()
        assert len(children) == 2
        for child in children:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(child.pid, number)

    monkeypatch.setattr(patches, "_leave_signals", late)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with closing(patches.Ahead(share, CPU, 2)) as ahead:
        ahead._made = ahead._begin(0)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        strike()
        for step in range(9):
            if step == 1:
                strike()
            assert torch.equal(ahead.get(step).x, share.batch(step, CPU).x)
    assert not multiprocessing.active_children()


def test_shares_of_a_batch_are_the_batch():
    whole = patches.batch(toy_images(), toy_problem(), config(batch=4), 5, 0, CPU)
    parts = [
        patches.batch(toy_images(), toy_problem(), config(batch=4), 5, 0, CPU, rank, 2)
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat([part.x for part in parts]), whole.x)
    torch.testing.assert_close(torch.cat([part.y for part in parts]), whole.y)


def test_a_parameter_that_is_left_out_takes_part_in_every_step(tmp_path):
    """It has a gradient of zero, so that the optimiser counts its steps: weight decay shows it."""

    class Idle(Denoiser):
        def __init__(self):
            super().__init__()
            self.idle = nn.Parameter(torch.ones(2, 2))

    method = Idle()
    given = {"optimiser": "adamw", "weight_decay": 0.5, "lr": 1e-2, "schedule": "constant"}
    session = RunSession(Run(tmp_path), precision="float32")
    session.launch()
    supervised(method, toy_problem(), toy_images(), config(steps=4, evaluate=4, **given), session)
    kept = load_file(next((tmp_path / "checkpoint").glob("tensors-*")))
    torch.testing.assert_close(kept["last.idle"], torch.full((2, 2), (1 - 0.5e-2) ** 4))
