"""Every schedule against torch's own, and at steps where its value is known."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler

from challenge.configs.schema.training import TrainConfig
from challenge.methods.training.schedules import factor

TOTAL = 200


def factors(total=TOTAL, **values):
    train = TrainConfig(steps=total, **values)
    return [factor(train, step, total) for step in range(total)]


def torchs(make, total=TOTAL):
    """The learning rates that a scheduler of torch gives to a peak of 1."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimiser)
    found = []
    for _ in range(total):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


PEERS = {
    "constant": ({}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "step": ({"drop": 0.2, "drops": 3}, lambda o: lr_scheduler.StepLR(o, TOTAL // 4, gamma=0.2)),
    "cosine": ({}, lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
    "one_cycle": (
        {},
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=TOTAL + 1 - 1),
    ),
    "warmup_cosine": (
        {"warm_up": 0.1},
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, 1 / 20, 1.0, total_iters=19),
                lr_scheduler.CosineAnnealingLR(o, TOTAL - 20),
            ],
            milestones=[20],
        ),
    ),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.filterwarnings("ignore:Tried to step")
def test_a_schedule_is_torchs(name):
    settings, make = PEERS[name]
    total = TOTAL - 1 if name == "one_cycle" else TOTAL
    expected = torchs(make, total)
    assert factors(schedule=name, **settings)[:total] == pytest.approx(expected, abs=1e-9)


def test_values_at_known_steps():
    assert factors(schedule="constant") == [1.0] * TOTAL
    step = factors(schedule="step", drop=0.5, drops=1)
    assert step[99] == 1.0
    assert step[100] == 0.5
    cosine = factors(schedule="cosine")
    assert (cosine[0], cosine[100]) == (1.0, pytest.approx(0.5))
    assert cosine == sorted(cosine, reverse=True)
    warm = factors(1000, schedule="warmup_cosine")
    assert warm[0] == pytest.approx(1 / 50)
    assert warm[49] == warm[50] == 1.0
    assert warm[525] == pytest.approx(0.5)
    assert 0 < warm[999] < 1e-5
    cycle = factors(schedule="one_cycle")
    assert cycle[0] == pytest.approx(1 / 25)
    assert max(cycle) == cycle[59] == pytest.approx(1.0)
    assert cycle[-1] == pytest.approx(1 / 250_000)
    assert factors(schedule="one_cycle", warm_up=0.5).index(1.0) == 99


def test_plateau_falls_by_its_drops():
    train = TrainConfig(steps=10, schedule="plateau", drop=0.2)
    assert [factor(train, 5, 10, drops) for drops in range(3)] == pytest.approx([1, 0.2, 0.04])


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "warmup_cosine", "one_cycle"])
def test_the_last_steps_exist_for_short_runs(name):
    for total in (1, 2, 3, 7):
        assert all(math.isfinite(f) and 0 <= f <= 1 for f in factors(total, schedule=name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("constant", 1.0), ("step", 1.0), ("cosine", 1.0), ("one_cycle", 1 / 25)],
)
def test_before_minutes_are_steps_a_schedule_waits_at_its_beginning(name, expected):
    train = TrainConfig(minutes=1, schedule=name)
    assert {factor(train, step, None) for step in (0, 30, 49)} == {expected}


def test_the_warm_up_of_minutes_goes_on_when_their_steps_are_known():
    train = TrainConfig(minutes=1)
    assert [factor(train, s, None) for s in range(50)] == [factor(train, s, 900) for s in range(50)]


@pytest.mark.parametrize(
    "values",
    [
        {"schedule": "cosine", "drop": 0.5},
        {"schedule": "constant", "warm_up": 0.1},
        {"schedule": "plateau", "drops": 2},
        {"schedule": "step", "wait": 2},
        {"optimiser": "adam", "nesterov": True},
        {"optimiser": "sgd", "nesterov": True, "momentum": 0},
    ],
)
def test_a_setting_that_nothing_would_read_is_refused(values):
    with pytest.raises(ValidationError):
        TrainConfig(steps=10, **values)
