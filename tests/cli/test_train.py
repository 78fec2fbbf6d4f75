"""`challenge train` as a person sees it: sweeps, pictures, facts of the run, clumsy settings."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from challenge.submissions import machine
from challenge.submissions.entries.load import load

RUNS = "workspace/runs/deblur"
SMALL = ["method.net.width=4", "method.net.depth=1", "method.net.blocks=1", "train.steps=20",
         "train.evaluate=10", "train.patch=32", "train.batch=2"]  # fmt: skip


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def trained(story, call):
    done = call(story, "train", "network", "name=seen", *SMALL, "train.ema=0.9")
    assert done.code == 0, done.err
    return story / RUNS / "seen", done


def test_a_training_leaves_curves_and_samples(trained):
    run, done = trained
    for name in ("curves.png", "samples.png"):
        picture = np.asarray(Image.open(run / name).convert("RGB"))
        assert picture.std() > 10
        assert f"look at {run.relative_to(run.parents[3]) / name}" in done.out
    # Blurred, estimate, truth and error of the two val images of 64 pixels.
    height, width, _ = picture.shape
    assert width >= 4 * 64
    assert height >= 2 * 64


def test_the_samples_are_measured_estimate_truth_and_error(trained, story):
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.physics.problem import tensors
    from challenge.submissions.scoring import pictures

    run, _ = trained
    challenge = open_challenge(story / "workspace/public/deblur")
    first = challenge.ids("val")[0]
    measurement, truth = challenge.measurement("val", first), challenge.truth(first)
    x_hat = load(run)(*tensors(measurement))[0].detach().numpy()
    page = np.asarray(Image.open(run / "samples.png").convert("RGB")).astype(int)
    margin, side, left = pictures.MARGIN, 64, 0
    error = np.broadcast_to(5 * np.abs(x_hat.clip(0, 1) - truth).mean(0), (3, side, side))
    # From left to right; how far apart the captions' width decides.
    for expected in (measurement.y, x_hat, truth, error):
        panel = 255 * expected.clip(0, 1).transpose(1, 2, 0)
        places = range(left, page.shape[1] - side)
        shown = (page[margin : margin + side, at : at + side] for at in places)
        found = [np.abs(each - panel).max() <= 1.01 for each in shown]
        assert sum(found) == 1
        left += found.index(True) + side


def test_the_log_says_what_a_person_wants_to_know(trained):
    run, _ = trained
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert {"psnr", "ssim"} <= log[0].keys()
    last = next(line for line in reversed(log) if "loss" in line)
    assert {"loss", "lr", "gradient", "psnr", "ssim", "images_per_s", "utilisation"} <= last.keys()
    assert 0 < last["utilisation"] <= 1
    assert {"float16_cost", "bf16_cost"} <= log[-1].keys()


def test_the_run_states_memory_and_what_the_network_costs(trained):
    run, _ = trained
    facts = json.loads((run / "run.json").read_text())
    assert 1e8 < facts["peak_memory"] < 1e11
    assert facts["method"].keys() == {"parameters", "macs_per_pixel", "receptive_field"}


def test_weights_are_stored_in_half_the_bytes_and_are_the_same(trained):

    run, _ = trained
    with safe_open(run / "weights.safetensors", "pt") as file:
        kinds = {name: str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118
    assert {kinds[name] for name in kinds if name.startswith("net.")} == {"torch.float16"}
    assert kinds["wiener.log_spectrum"] == "torch.float32"
    method = load(run)
    assert all(str(p.dtype) == "torch.float32" for p in method.parameters())


def test_methods_shows_what_every_architecture_costs(challenge):
    page = challenge("methods", "network").out
    for word in ("unet", "mlp", "parameters", "macs per pixel", "receptive field", "1,056,972"):
        assert word in page
    variants = json.loads(challenge("methods", "network", "--json").out)["variants"]
    rows = {row["net.architecture"]: row for row in variants["net.architecture"]}
    assert rows["unet"]["receptive_field"] == 180


SWEEP = ["--sweep", "train.lr=1e-4,1e-3", "--sweep", "method.net.width=4,6"]


def test_a_sweep_is_a_grid_with_one_table_and_resumes(challenge, story, monkeypatch):
    from challenge.submissions.runs.session import RunSession

    log, calls = RunSession.log, []

    def interrupting(self, step, total, **values):
        log(self, step, total, **values)
        calls.append(step)
        # In the second of four runs.
        if calls.count(0) == 2:
            self.request_stop()

    small = [each for each in SMALL if not each.startswith("method.net.width")]
    command = ["train", "network", "name=grid", *small, *SWEEP]
    monkeypatch.setattr(RunSession, "log", interrupting)
    stopped = challenge(*command)
    monkeypatch.undo()
    assert stopped.code == 130
    assert "the whole sweep continues with the same command and --resume" in stopped.err
    assert challenge(*command).code == 2
    first = (story / RUNS / "grid-lr-1e-4-width-4/weights.safetensors").read_bytes()
    done = challenge(*command, "--resume")
    assert done.code == 0, done.err
    assert "1/4 grid-lr-1e-4-width-4: is finished already" in done.err
    assert (story / RUNS / "grid-lr-1e-4-width-4/weights.safetensors").read_bytes() == first
    names = ["lr-1e-4-width-4", "lr-1e-4-width-6", "lr-1e-3-width-4", "lr-1e-3-width-6"]
    table = done.out[done.out.index("on the tune part") :]
    rows = [line.split() for line in lines(table) if line.split()[0] in ("1e-4", "1e-3")]
    assert [f"lr-{row[0]}-width-{row[1]}" for row in rows] == names
    for name, row in zip(names, rows, strict=True):
        run = story / RUNS / f"grid-{name}"
        log = [json.loads(each) for each in (run / "log.jsonl").read_text().splitlines()]
        best = max(line["psnr"] for line in log if "psnr" in line)
        assert row[2] == f"{best:.2f}"
        config = (run / "config.yaml").read_text()
        assert f"width: {row[1]}" in config
    assert "best: workspace/runs/deblur/grid-" in done.out


@pytest.mark.slow
@pytest.mark.skipif(machine.cores() < 2, reason="two workers need two cores")
def test_a_sweep_on_the_workers_of_a_scheduler_is_that_of_one_process(challenge, story):
    pytest.importorskip("distributed")
    rates, tables = ["--sweep", "train.lr=1e-3,1e30"], []
    wild = ["train.clip=null", "train.optimiser=sgd"]
    for name, where in (("near", []), ("far", ["--scheduler", "local"])):
        done = challenge("train", "network", f"name={name}", *SMALL, *wild, *rates, *where)
        assert done.code == 1
        table = done.out[done.out.index("on the tune part") :].replace(f"{name}-", "")
        rows = [line.split() for line in lines(table) if line.split()[0] == "1e-3"]
        tables.append([[*row[:4], *row[5:]] for row in rows])  # but for seconds
        assert "at learning rate" in done.out
        assert (story / RUNS / f"{name}-lr-1e-3/samples.png").exists()
    assert tables[0] == tables[1] and len(tables[0]) == 1
    again = challenge("train", "network", "name=far", *SMALL, *wild, "--sweep", "train.lr=1e-3",
                      "--scheduler", "local", "--resume")  # fmt: skip
    assert again.code == 0, again.err
    assert "1/1 far-lr-1e-3: is finished already" in again.err


def test_a_run_that_fails_is_a_line_of_the_table(challenge):
    done = challenge("train", "network", "name=wild", *SMALL, "train.clip=null",
                     "train.optimiser=sgd", "--sweep", "train.lr=1e-3,1e30")  # fmt: skip
    assert done.code == 1
    assert "failed" in done.out
    assert "at learning rate" in done.out


def test_a_sweep_of_a_method_that_reports_no_psnr_names_no_best(challenge):
    done = challenge("train", "huber", "name=blind", "method.iterations=5",
                     "--sweep", "method.weight=0.001,0.01")  # fmt: skip
    assert done.code == 0, done.err
    assert "best:" not in done.out
    storage = [f"{RUNS}/blind-weight-{weight}" for weight in ("0_001", "0_01")]
    assert f"on val: challenge compare {' '.join(storage)}" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("knobs", "key", "reads"),
    [
        (["bilevel", "method.theta=weight"], "lr=0.5", "it reads `train.tune`"),
        (["bilevel", "method.theta=weight_eps"], "steps=3", "it reads `train.tune`"),
        (["tv"], "tune=3", "it reads no `train:` key"),
        (["tv", "method.weight=null"], "lr=0.5", "it reads `train.tune`"),
    ],
)
def test_a_key_that_is_not_read_with_these_knobs_is_refused(challenge, knobs, key, reads):
    done = challenge("train", *knobs, "name=deaf", f"train.{key}")
    assert done.code == 2
    said = " ".join(done.err.split())
    assert f"does not read `train.{key.partition('=')[0]}`" in said
    assert reads in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--sweep", "train.lr"], "is not of the form `key=a,b`"),
        (["--sweep", "train.lr=1,,2"], "is not of the form `key=a,b`"),
        (["--sweep", "train.shedule=step,cosine"], "did you mean `train.schedule`"),
        (["--sweep", "train.lr=1e-3,1e-3"], "twice"),
        (["--sweep", "method.net.pooling=max,best"], "method.net.pooling"),
        (["--sweep", "train.lr=1e-3,1e-4", "--processes", "2"], "trains with one process"),
        (["--scheduler", "local"], "are for a sweep on a Dask scheduler; give `--sweep KEY=A,B`"),
        (["--sweep", "train.lr=1,2", "--workers", "2"], "give `--sweep KEY=A,B` and `--scheduler`"),
        (["--sweep", "train.lr=1,2", "--scheduler", "tcp://10.0.0.1:1"], "is not encrypted"),
        (["train.schedule=cosine", "train.drop=0.5"], "is not read by `train.schedule: cosine`"),
        (["train.nesterov=true"], "is not read by `train.optimiser: adam`"),
        (["train.loss=cross_entropy"], "give `method.bins=64`"),
        (["train.loss=huberr"], "did you mean `huber`"),
        (
            ["method.net.architecture=cnn"],
            "`method.net.blocks` is not a knob of `architecture: cnn` (got 1)",
        ),
        (["method.net.wdth=4"], "did you mean `method.net.width`"),
        (["method.width=4"], "elsewhere: `net.width`"),
        (["method.net=3"], "`method.net` must be a section"),
        (["train.precision=fp16"], "`fp16` is for GPUs"),
        (["train.augment.scale=2"], "train.augment.scale"),
    ],
)
def test_a_wrong_setting_is_one_line_and_leaves_nothing(challenge, story, arguments, text):
    before = {path.name for path in (story / RUNS).iterdir()}
    done = challenge("train", "network", "name=wrong", *SMALL, *arguments)
    assert done.code == 2, done.out + done.err
    assert text in done.err
    assert len([line for line in lines(done.err) if line.startswith("error:")]) == 1
    assert {path.name for path in (story / RUNS).iterdir()} == before


def test_a_training_that_diverges_leaves_its_best_weights(challenge, story, monkeypatch):
    from challenge.methods.training import losses

    calls, mse = [], losses.LOSSES["mse"]

    def breaks(x_hat, x):
        calls.append(0)
        return mse(x_hat, x) * (float("nan") if len(calls) == 15 else 1)

    monkeypatch.setitem(losses.LOSSES, "mse", breaks)
    done = challenge("train", "network", "name=diverged", *SMALL, "train.loss=mse")
    assert done.code == 2
    assert "step 14: the loss is `nan`" in done.err
    assert "are kept; train again with a smaller one" in done.err
    run = story / RUNS / "diverged"
    assert "the loss is `nan`" in json.loads((run / "run.json").read_text())["fault"]
    assert challenge("infer", "workspace/runs/deblur/diverged").code == 0


def test_a_network_that_learned_nothing_says_so(challenge):
    done = challenge(
        "train", "network", "name=idle", *SMALL, "train.optimiser=sgd", "train.lr=1e-30"
    )
    assert done.code == 0
    said = " ".join(done.err.split())
    assert "warning: no weights were better on the tune part than those of step 0" in said
    assert "nothing was learned" in said


def test_a_weight_for_other_noise_is_told(challenge):
    done = challenge("train", "tv", "name=heavy", "method.weight=0.1", "method.iterations=2")
    assert done.code == 0
    assert "`method.weight=null` tunes it" in " ".join(done.err.split())
    assert "warning" not in challenge("train", "tv", "name=usual", "method.iterations=2").err


def test_pictures_that_cannot_be_drawn_lose_nothing_and_say_so(challenge, story, monkeypatch):
    from challenge.submissions.reports import training_pictures

    def fail(*_):
        raise RuntimeError("no fonts\nat all")

    monkeypatch.setattr(training_pictures, "samples", fail)
    done = challenge("train", "tv", "name=undrawn", "method.iterations=2")
    assert done.code == 0
    assert "nothing else is lost: RuntimeError: no fonts at all" in done.err
    assert (story / RUNS / "undrawn/weights.safetensors").is_file()
    assert "next: challenge infer" in done.out


def test_pictures_are_renewed_while_it_trains(challenge, story, monkeypatch):
    """Already at the first evaluation, with the curve so far."""
    from challenge.submissions.runs.session import RunSession

    log, seen = RunSession.log, []

    def looking(self, step, total, **values):
        log(self, step, total, **values)
        seen.append({path.name for path in (story / RUNS / "early").glob("*.png")})

    monkeypatch.setattr(RunSession, "log", looking)
    assert challenge("train", "network", "name=early", *SMALL).code == 0
    assert seen[0] == set()
    assert seen[-1] >= {"curves.png", "samples.png"}


def test_a_closed_terminal_saves_with_the_exit_code_of_its_signal(story):
    """The real thing: a pseudo-terminal whose other end goes away."""
    import os
    import pty
    import signal

    from challenge.cli.main import main

    child, terminal = pty.fork()
    if not child:
        code = 99
        try:
            os.chdir(story)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            small = [*SMALL, "train.steps=100000", "train.evaluate=100000"]
            sys.argv = ["challenge", "train", "network", "name=closed", *small]
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            main()
        except SystemExit as end:
            code = end.code
        finally:
            os._exit(code)
    shown = b""
    while b"20/100000" not in shown:
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    state = json.loads((story / RUNS / "closed/checkpoint/state.json").read_text())
    assert state["state"]["step"] >= 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--finish", "--resume"], "--resume and --finish: contradict each other"),
        (["--finish", "--force"], "--finish and --force: contradict each other"),
        (["--finish", "train.steps=3"], "--finish: takes a run as it is"),
        (["--finish", "--processes", "2"], "--finish: takes a run as it is"),
        (["--finish", "--sweep", "train.lr=1,2"], "--finish: is for one run"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(challenge, options, words):
    done = challenge("train", "network", *options)
    assert (done.code, len(lines(done.err))) == (2, 1)
    assert words in done.err


def test_a_prior_is_drawn_into_its_run(story, call):
    """Reconstructions, samples and a walk, beside curves and samples."""
    settings = ["method.net.width=4", "method.net.latent=4", "method.inference.iterations=2"]
    budget = ["train.minutes=null", *SMALL[3:]]
    done = call(story, "train", "vae", "name=prior", *settings, *budget)
    assert done.code == 0, done.err
    for page in ("latents", "prior", "walk"):
        assert f"look at {RUNS}/prior/{page}.png" in done.out
        assert np.asarray(Image.open(story / RUNS / "prior" / f"{page}.png")).std() > 1
    refused = call(story, "train", "vae", "name=large", "method.net.latent=200", *budget)
    assert refused.code == 2
    (line,) = lines(refused.err)
    assert "`method.net.latent`" in line and "192 numbers" in line
