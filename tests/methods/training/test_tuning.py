"""The search for one number: finds the best one, says what it tries, stops when asked."""

import math

import pytest
import torch

from challenge.configs.schema.physics import GaussianNoise
from challenge.configs.schema.training import TrainConfig
from challenge.data.images.dataset import Images
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.training import patches, tuning
from challenge.methods.training.tuning import between, tune, tune_several
from challenge.methods.variational.tv import TV

GREY = Images.of({f"{n}": torch.full((3, 24, 24), 0.5) for n in range(4)})


def best(sigma):
    """The number that `reconstruct` needs."""
    return 0.3 * sigma**2


def reconstruct(y, physics, value):
    """The grey image, but for the distance of the number from the best one."""
    wrong = (value / best(physics.noise_model.sigma)).log().abs().reshape(-1, 1, 1, 1)
    return 0.5 + 0.05 * wrong.expand_as(physics.A_adjoint(y))


class Stopping(ToySession):
    def __init__(self, after):
        super().__init__()
        self.after = after

    def should_stop(self):
        return len(self.lines) >= self.after


def run(sigma, session):
    problem = toy_problem().at(GaussianNoise(sigma=sigma))
    return tune(
        reconstruct,
        problem,
        GREY,
        TrainConfig(tune=2),
        session,
        name="strength",
        start=lambda level: 0.02 * level,
    )


@pytest.mark.parametrize("sigma", [(0.03, 0.03), (0.02, 0.1)])
def test_the_number_is_the_best_at_both_ends_of_the_noise_levels(sigma):
    session = ToySession()
    levels, logarithms = run(sigma, session)
    assert levels.tolist() == pytest.approx(sigma)
    assert logarithms.tolist() == pytest.approx([math.log(best(s)) for s in sigma], abs=0.05)
    assert len(session.lines) <= tuning.EVALUATIONS * len(set(sigma))
    assert {"step", "strength", "sigma", "psnr"} == session.lines[0].keys()
    found = between(levels, logarithms, torch.tensor([*sigma, 1.0]))
    torch.testing.assert_close(found[:2], logarithms.exp())
    assert found[2] == found[1]


def test_asked_to_stop_it_finds_nothing():
    session = Stopping(3)
    assert run((0.02, 0.1), session) is None
    assert len(session.lines) == 3


def test_total_variation_that_is_stopped_is_not_tuned():
    method = TV(weight=None, iterations=2)
    method.fit(toy_problem(), GREY, TrainConfig(tune=2), Stopping(1))
    assert not method.tuned_levels.any()


@pytest.mark.parametrize("boundary", ["circular", "valid"])
def test_a_number_is_tuned_on_the_pixels_that_an_evaluation_counts(boundary, monkeypatch):
    """The same side of a large image, whatever a valid blur takes from its border."""
    monkeypatch.setattr(patches, "TUNE_SIDE", 20)
    problem, images, sides = toy_problem(boundary=boundary), toy_images(4, side=48), set()

    def reconstruct(y, physics, value):
        x_hat = physics.A_adjoint(y)
        sides.add(tuple(patches.scored(x_hat, problem).shape[-2:]))
        return x_hat

    tune(reconstruct, problem, images, TrainConfig(tune=2), ToySession(), name="t", start=float)
    x, *_ = patches.tune_batch(images, problem, 0, torch.device("cpu"))
    assert sides == {(20, 20)} == {tuple(patches.scored(x, problem).shape[-2:])}


def test_an_evaluation_takes_what_the_operator_can_downsample():
    """Tune images of any size: the last row and column are left out where a factor asks for it."""
    problem, images = toy_problem(operator="downsampling"), toy_images(4, side=45)
    x, y, _ = patches.tune_batch(images, problem, 0, torch.device("cpu"))
    assert (x.shape[-2:], y.shape[-2:]) == ((44, 44), (22, 22))
    tried = tune(
        lambda y, physics, value: physics.A_adjoint(y) * value,
        problem, images, TrainConfig(tune=2), ToySession(), name="t", start=lambda level: 1.0,
    )  # fmt: skip
    assert tried is not None


def test_two_numbers_are_found_at_once():
    """The second one is best at a multiple of the first one, so that neither is found alone."""

    def reconstruct(y, physics, values):
        wrong = (values[0] / 0.02).log().abs() + (values[1] / (5 * values[0])).log().abs()
        return 0.5 + 0.05 * wrong.expand_as(physics.A_adjoint(y))

    session = ToySession()
    problem = toy_problem(1).at(GaussianNoise(sigma=0.03))
    _, logarithms = tune_several(
        reconstruct,
        problem,
        Images.of({f"{n}": torch.full((1, 24, 24), 0.5) for n in range(4)}),
        TrainConfig(tune=2),
        session,
        names=["strength", "level"],
        start=lambda level: [level, level],
    )
    assert logarithms.shape == (2, 2)
    assert logarithms[0].tolist() == pytest.approx([math.log(0.02), math.log(0.1)], abs=0.35)
    assert len(session.lines) <= 2 * tuning.EVALUATIONS
    assert {"step", "strength", "level", "sigma", "psnr"} == session.lines[0].keys()
