"""Runs that are stopped, continued, extended, finished before their time; one at a time."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from challenge.cli.shared.training import Where, train_and_show
from challenge.configs.errors import UserError
from challenge.submissions import layout
from challenge.submissions.judging import trial
from challenge.submissions.runs import log, storage, sweep
from challenge.submissions.runs.facts import read_config, read_facts
from challenge.submissions.runs.train import train
from tests.submissions.runs.small import small

CONFIG = small(12, 4)
ASKING = [
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
]


@pytest.fixture(scope="module")
def whole(workspace, tmp_path_factory):
    """The weights of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "public").symlink_to(workspace.path / "public")
    return train(CONFIG, workspace=folder).run.weights.read_bytes()


def at(step, act):
    """A progress function that does something when it is told of a step."""
    return lambda done, total, values: act() if done == step else None


def stopped_at(place, step, number=signal.SIGINT, config=CONFIG, **options):
    return train(
        config,
        workspace=place,
        catch_interrupts=True,
        progress=at(step, lambda: os.kill(os.getpid(), number)),
        **options,
    )


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.slow) for each in ASKING if each != signal.SIGTERM),
    ],
)
def test_every_signal_saves_and_the_run_goes_on_exactly(place, whole, number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        done = stopped_at(place, 8, number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (done.finished, done.signal) == (False, number)
    again = train(done.run.path, workspace=place, resume=True)
    assert again.finished
    assert again.run.weights.read_bytes() == whole


@pytest.mark.parametrize("number", ASKING)
def test_every_signal_stops_with_a_checkpoint(place, number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        done = stopped_at(place, 0, number)
    finally:
        signal.signal(number, before)
    assert (done.finished, done.signal) == (False, number)
    assert done.run.checkpoint_state.is_file()


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGTERM, signal.SIGTERM], 143),
        ([signal.SIGHUP, signal.SIGINT, signal.SIGTERM], 143),
        # A closed terminal says so twice; processor time is up every second anew.
        ([signal.SIGHUP, signal.SIGHUP], None),
        ([signal.SIGXCPU, signal.SIGXCPU, signal.SIGTERM, signal.SIGHUP], None),
    ],
)
def test_a_second_request_ends_it_at_once_a_second_warning_does_not(place, signals, code):
    before = {each: signal.signal(each, signal.SIG_DFL) for each in ASKING}

    def send(*_):
        for each in signals:
            os.kill(os.getpid(), each)

    try:
        if code is None:
            done = train(CONFIG, workspace=place, catch_interrupts=True, progress=send)
            assert (done.finished, done.signal) == (False, signals[0])
        else:
            with pytest.raises(SystemExit) as end:
                train(CONFIG, workspace=place, catch_interrupts=True, progress=send)
            assert end.value.code == code
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_signal_that_is_ignored_stays_so(place):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    short = {**CONFIG, "train": {**CONFIG["train"], "steps": 1}}
    try:
        assert stopped_at(place, 0, signal.SIGHUP, short).finished
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_closed_terminal_does_to_progress_ends_no_training(place):
    def fail(*_):
        raise OSError(5, "Input/output error")

    assert train(CONFIG, ["train.steps=1"], workspace=place, progress=fail).finished


# --- before its time -----------------------------------------------------------------------------


def test_a_stopped_run_is_finished_with_its_best_weights_and_goes_on_exactly(place, whole):
    run = stopped_at(place, 8).run
    best = load_file(next(run.checkpoint.glob("*.safetensors")))
    with pytest.raises(UserError, match=r"`--finish` in its place, which takes the best weights"):
        trial.infer(run)
    done = train(run.path, workspace=place, finish=True)
    assert done.finished
    assert read_facts(run).early == "on request, at step 8 of 12"
    kept = load_file(run.weights)
    for name, value in kept.items():
        if name.startswith("net."):  # rounded to half precision where that costs nothing
            torch.testing.assert_close(value.float(), best[f"best.{name}"], atol=1e-3, rtol=1e-3)
    assert trial.infer(run).outcome == "ok"
    assert run.reconstructions("val").exists()
    assert log.read(run)[-1]["step"] == 8
    with pytest.raises(UserError, match=r"finished already; extend it with `--resume"):
        train(run.path, workspace=place, finish=True)
    train(run.path, workspace=place, resume=True)
    assert run.weights.read_bytes() == whole
    assert read_facts(run).early is None
    assert not run.reconstructions("val").exists()  # of other weights


def test_the_last_weights_count_where_they_are_the_best(place):
    """Stopped before the first evaluation, the best evaluated weights are the untrained ones."""
    changed = {**CONFIG, "train": {**CONFIG["train"], "evaluate": 1000, "lr": 1e-4}}
    run = stopped_at(place, 10, config=changed).run
    done = train(run.path, workspace=place, finish=True)
    psnr = {line["step"]: line["psnr"] for line in log.read(run) if "psnr" in line}
    assert psnr.keys() == {0, 10}
    assert psnr[10] > psnr[0]
    assert log.best(done.run)["step"] == 10


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (None, "is not a run"),
        (0, "has no checkpoint with weights that were trained; continue it with"),
    ],
)
def test_what_cannot_be_finished_says_why(place, step, text):
    if step is not None:
        stopped_at(place, step)
    with pytest.raises(UserError, match=text):
        train(CONFIG, workspace=place, finish=True)


@pytest.mark.parametrize("step", [0, 8])
def test_finish_is_proposed_exactly_where_it_works(place, step, capfd, monkeypatch):
    """By the command that was stopped, and by those that want a finished run."""
    stopped = stopped_at(place, step)
    run = stopped.run
    monkeypatch.setattr("challenge.submissions.runs.train.train", lambda *_, **options: stopped)
    train_and_show(str(run.path), [], Where(place))
    with pytest.raises(UserError) as refused:
        trial.infer(run)
    assert "continue exactly with" in (said := capfd.readouterr().err)
    assert ("--finish" in said) == ("--finish" in str(refused.value)) == (step > 0)
    if step:
        with pytest.raises(UserError, match="give more, or take the best weights with"):
            train(run.path, ["train.steps=5"], workspace=place, resume=True)
        train(run.path, workspace=place, finish=True)
        with pytest.raises(UserError) as refused:
            train(run.path, ["train.steps=5"], workspace=place, resume=True)
        assert "--finish" not in str(refused.value)


@pytest.mark.parametrize(
    ("schedule", "finished"),
    [
        ("constant", True),
        ("cosine", False),
        pytest.param("constant", False, marks=pytest.mark.slow),
        pytest.param("cosine", True, marks=pytest.mark.slow),
        pytest.param("plateau", True, marks=pytest.mark.slow),
    ],
)
def test_a_run_is_extended_by_steps(place, schedule, finished):
    config = {**CONFIG, "train": {**CONFIG["train"], "schedule": schedule}}
    run = (train(config, workspace=place) if finished else stopped_at(place, 8, config=config)).run
    done = train(run.path, ["train.steps=20"], workspace=place, resume=True)
    assert done.finished
    assert read_config(run).train.steps == 20
    rates = dict(zip(*log.curve(run, "lr"), strict=True))
    assert [line["step"] for line in log.read(run) if "loss" in line][-1] == 20
    if schedule == "cosine":
        # That of the new length, from the step that was reached.
        import math

        assert rates[16] == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * 15 / 20)))
    if schedule == "constant":
        longer = {**config, "name": "longer", "train": {**config["train"], "steps": 20}}
        assert train(longer, workspace=place).run.weights.read_bytes() == run.weights.read_bytes()


def test_a_run_is_extended_by_minutes(place):
    config = {**CONFIG, "train": {**CONFIG["train"], "steps": None, "minutes": 0.005}}
    run = train(config, workspace=place).run
    reached = log.read(run)[-1]["step"]
    done = train(run.path, ["train.minutes=0.02"], workspace=place, resume=True)
    assert done.finished
    assert log.read(run)[-1]["step"] > reached


REFUSED = [
    (["train.lr=1e-4"], r"`train\.lr`; of a run only `train\.steps` and `train\.minutes`"),
    (["seed=3", "train.steps=40"], "`seed`"),
    (["train.steps=12"], "is finished already; extend it with `train.steps=N`"),
    (["train.steps=5"], r"`train\.steps`: is 5, 12 are done already; give more"),
    (["train.steps=null", "train.minutes=1e-9"], "are spent already"),
]


def test_what_may_not_change_is_refused_and_nothing_happens(place):
    run = train(CONFIG, workspace=place).run
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    for overrides, text in REFUSED:
        with pytest.raises(UserError, match=text):
            train(run.path, overrides, workspace=place, resume=True)
        after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
        assert after == before


def test_a_checkpoint_that_does_not_say_its_budget_goes_on_and_can_be_extended(place, whole):
    run = stopped_at(place, 8).run
    state = json.loads(run.checkpoint_state.read_text())
    del state["state"]["steps"], state["state"]["minutes"]
    run.checkpoint_state.write_text(json.dumps(state))
    assert train(run.path, workspace=place, resume=True).run.weights.read_bytes() == whole
    train(run.path, ["train.steps=16"], workspace=place, resume=True)
    assert log.read(run)[-1]["step"] == 16


# --- one at a time -------------------------------------------------------------------------------


def test_a_run_that_is_trained_is_left_alone(place, challenge):
    said = {}
    ways = {
        "resume": lambda _: train(CONFIG, workspace=place, resume=True),
        "force": lambda _: train(CONFIG, workspace=place, force=True),
        "finish": lambda _: train(CONFIG, workspace=place, finish=True),
        "infer": trial.infer,
        "pack": lambda run: storage.finished(layout.Run(run), challenge),
    }

    def interfere():
        run = place / "runs/tiny/small"
        for name, way in ways.items():
            before = sorted(path.name for path in run.iterdir())
            with pytest.raises(UserError) as refused:
                way(run)
            said[name] = str(refused.value)
            assert sorted(path.name for path in run.iterdir()) == before

    assert train(CONFIG, workspace=place, progress=at(4, interfere)).finished
    assert said.keys() == ways.keys()
    who = f"is being trained by process {os.getpid()} on {os.uname().nodename}"
    assert all(who in each for each in said.values())
    # Free again.
    assert train(CONFIG, ["train.steps=1"], workspace=place, force=True).finished


def test_a_run_that_is_reconstructed_is_not_trained_anew(place, monkeypatch):
    run = train(CONFIG, workspace=place).run
    said = []

    def interfere(*_, **__):
        for way in ({"force": True}, {"resume": True}):
            with pytest.raises(UserError, match="is being reconstructed by process"):
                train(CONFIG, ["train.steps=20"], workspace=place, **way)
            said.append(way)
        raise RuntimeError("enough")

    monkeypatch.setattr(trial, "infer_folder", interfere)
    with pytest.raises(RuntimeError, match="enough"):
        trial.infer(run)
    assert len(said) == 2


def test_a_sweep_is_alone_with_its_runs_also_with_those_that_it_finished(place):
    planned = sweep.plan(CONFIG, [], ["train.lr=1e-4,1e-3"], place, fresh=True)
    others = sweep.plan(CONFIG, [], ["train.lr=1e-3,1e-2"], place, fresh=True)
    with sweep.held(planned):
        train(CONFIG, planned[0].overrides, workspace=place)
        with (
            pytest.raises(UserError, match="1e-3: is being trained in a sweep by process"),
            sweep.held(others),
        ):
            pass
    with sweep.held(others):
        pass


def test_pictures_are_drawn_while_it_trains_and_change_nothing(place, whole):
    drawn = []

    def draw(run, method, challenge):
        torch.rand(1)  # what drawing draws is not missing elsewhere
        assert not run.weights.exists()
        drawn.append({n: v.clone() for n, v in method.state_dict().items()})

    done = train(CONFIG, workspace=place, draw=draw)
    assert done.run.weights.read_bytes() == whole
    assert len(drawn) >= 1


def test_pictures_that_fail_are_told_once_and_lose_nothing(place, whole):
    told = []

    def draw(run, method, challenge):
        raise RuntimeError("no fonts")

    done = train(CONFIG, workspace=place, draw=draw, on_failed_drawing=told.append)
    assert done.run.weights.read_bytes() == whole
    assert [str(each) for each in told] == ["no fonts"]


def test_drawing_takes_a_hundredth_of_the_time(monkeypatch):
    from challenge.submissions.runs import renewal

    clock, drawn = [0.0], []
    monkeypatch.setattr(renewal.time, "monotonic", lambda: clock[0])

    def draw(method):
        drawn.append(clock[0])
        clock[0] += 2.0

    method = torch.nn.Linear(1, 1)
    renew = renewal.Renewal(method, draw)
    best = {f"best.{name}": value for name, value in method.state_dict().items()}
    for _ in range(1000):
        clock[0] += 1.0
        renew(best)
    assert drawn[0] == 1.0
    assert 4 <= len(drawn) <= 1 + 0.01 * clock[0] / 2.0 + 1
