"""A training is a function: keys in, a run and its method out, nothing printed."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data.physics.problem import tensors
from challenge.methods import from_source, registry
from challenge.methods.contract_test import toy_problem
from challenge.methods.training.fit import check_problem
from challenge.submissions.runs import storage
from challenge.submissions.runs.facts import read_config
from challenge.submissions.runs.sweep import plan
from challenge.submissions.runs.train import fitted_to, time_limit, train
from tests.submissions.runs.small import small

CONFIG = small(20, 10)


@pytest.fixture
def handler():
    """Ctrl-C's handler, which a test must leave as it was.

    Python's own: where the tests are started in the background, Ctrl-C is ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


def weights(done):
    return done.run.weights.read_bytes()


def test_keys_are_trained_off_the_main_thread_without_a_word(place, handler, capfd):
    made = []

    def call():
        made.append(train(CONFIG, ["train.steps=2"], workspace=place))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    done = made[0]
    assert done.finished
    assert storage.finished(done.run, done.challenge).seconds == done.seconds
    assert read_config(done.run).train.steps == 2
    measurement = done.challenge.measurement("val", done.challenge.ids("val")[0])
    assert torch.isfinite(done.method(*tensors(measurement))).all()
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_stops_after_the_step_and_the_run_goes_on_exactly(place, handler):
    whole = weights(train(CONFIG, workspace=place))
    told = []

    def interrupt(step, total, values):
        if step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = train(
        CONFIG,
        workspace=place,
        force=True,
        progress=interrupt,
        catch_interrupts=True,
        on_stop=told.append,
    )
    assert (stopped.finished, stopped.signal, told) == (False, signal.SIGINT, [signal.SIGINT])
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(UserError, match="is not finished"):
        storage.finished(stopped.run, stopped.challenge)
    done = train(stopped.run.path, workspace=place, resume=True)
    assert done.finished
    assert weights(done) == whole


@pytest.mark.parametrize("catch", [True, False])
def test_a_second_ctrl_c_and_one_that_nobody_catches_interrupt_at_once(place, handler, catch):
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGINT)

    steps = []
    with pytest.raises(KeyboardInterrupt):
        train(
            CONFIG,
            workspace=place,
            progress=lambda *told: (steps.append(told[0]), interrupt(), interrupt()),
            catch_interrupts=catch,
        )
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("keys", "overrides", "text"),
    [
        ({"nam": "x"}, [], "did you mean `name`"),
        ({}, ["train.stepz=3"], "did you mean `train.steps`"),
        ({"challenge": "absent"}, [], "absent"),
        ({"method": "netwrk"}, [], "did you mean `network`"),
    ],
)
def test_a_wrong_key_is_a_mistake_and_leaves_nothing(place, keys, overrides, text):
    with pytest.raises(UserError, match=text):
        train({**CONFIG, **keys}, overrides, workspace=place)
    assert not (place / "runs").exists()


def test_a_sweep_is_checked_before_it_begins(place):
    sweep = ["train.lr=1e-4,1e-3", "method.net.width=4,6"]
    planned = plan(CONFIG, [], sweep, place, fresh=True)
    assert [each.run.path.name for each in planned] == [
        f"small-lr-{lr}-width-{width}" for lr in ("1e-4", "1e-3") for width in (4, 6)
    ]
    assert not any(each.is_finished() for each in planned)
    done = train(CONFIG, [*planned[1].overrides, "train.steps=2"], workspace=place)
    assert done.run == planned[1].run
    assert planned[1].is_finished()
    with pytest.raises(UserError, match="exists already"):
        plan(CONFIG, [], sweep, place, fresh=True)
    with pytest.raises(UserError, match="did you mean `train.schedule`"):
        plan(CONFIG, [], ["train.shedule=step,cosine"], place, fresh=False)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "name", [name for name in registry.METHODS if from_source.channels({"name": name}) is not None]
)
def test_a_method_is_built_for_the_channels_of_its_challenge(name, channels):
    """Without a knob; one that says otherwise stays, and is refused by its number."""
    knobs = {"name": name, **({"filters": 12} if name == "lista" else {})}
    entry = EntryConfig(challenge="ours", name="x", method=knobs)
    filled = fitted_to(entry, SimpleNamespace(channels=channels)).method
    method = registry.build(filled)
    assert method.channels == channels
    check_problem(method.channels, toy_problem(channels, operator="identity"))
    other = {1: 3, 2: 1, 3: 2}[channels]
    explicit = entry.model_copy(update={"method": {**knobs, "channels": other}})
    assert fitted_to(explicit, SimpleNamespace(channels=channels)) == explicit
    with pytest.raises(UserError, match=f"is `{other}`, .* have `{channels}`"):
        check_problem(registry.build(explicit.method).channels, toy_problem(channels))


@pytest.mark.parametrize(
    "method", [{"name": "tv"}, {"name": "bilevel", "theta": "weight"}, {"name": "own.py:Mine"}]
)
def test_a_method_without_a_number_of_channels_is_left_alone(method):
    entry = EntryConfig(challenge="ours", name="x", method=method)
    assert fitted_to(entry, SimpleNamespace(channels=1)) is entry


def test_a_session_knows_the_judge_s_time_for_an_image(challenge):
    """All minutes over all images of test, whose mean size is public."""
    limit, test, limits = time_limit(challenge), challenge.test, challenge.config.limits
    assert limit.seconds * test.count == pytest.approx(60 * limits.minutes)
    sizes = [each.image[1] * each.image[2] for each in test.shapes for _ in range(each.count)]
    assert limit.pixels == pytest.approx(sum(sizes) / len(sizes))
    assert limit.threads == limits.threads
