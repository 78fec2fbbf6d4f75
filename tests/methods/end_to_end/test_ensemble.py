"""Laws of the ensemble: it turns with its measurement, and leaves what does so already."""

from pathlib import Path

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract import Method, TimeLimit
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end import ensemble
from challenge.methods.end_to_end.ensemble import Ensemble, turns_within
from challenge.methods.transforms.symmetries import ORDER, turn
from challenge.methods.transforms.turned_operator import TURNS, turned

CASES = [
    ("blur", "circular"),
    pytest.param("blur", "valid", marks=pytest.mark.slow),
    ("blur", "reflect"),
    ("identity", None),
    ("inpainting", None),
    ("downsampling", "reflect"),
    ("compose", None),
]


class Shifts(Method):
    """A method that looks to one side only."""

    def forward(self, y, physics):
        x = physics.A_adjoint(y)
        return x + 0.3 * (x.roll((1, -2), (-2, -1)) - x).sin()


class Adjoint(Method):
    def forward(self, y, physics):
        return physics.A_adjoint(y)


def scene(operator, boundary):
    problem = toy_problem(3, boundary, operator)
    x = toy_images(1)[0][None, :, :24, :36]
    return problem.measure(x, [0])


@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize(("operator", "boundary"), CASES)
def test_the_ensemble_turns_with_its_measurement(operator, boundary, count):
    y, physics = scene(operator, boundary)
    method = Ensemble(of=Shifts()).eval()
    method.turns_found.fill_(count)
    plain = method(y, physics)
    for which in ORDER[1:count]:
        got = method(turn(y, which), turned(physics, which))
        torch.testing.assert_close(got, turn(plain, which), rtol=0, atol=3e-6)
        alone = Shifts()(turn(y, which), turned(physics, which))
        assert (alone - turn(Shifts()(y, physics), which)).abs().max() > 1e-2


@pytest.mark.parametrize(("operator", "boundary"), CASES)
@pytest.mark.parametrize("name", ["wiener", "adjoint"])
def test_a_method_that_turns_already_is_left_as_it_is(name, operator, boundary):
    method = Adjoint() if name == "adjoint" else registry.build({"name": name}, Path()).eval()
    y, physics = scene(operator, boundary)
    found = Ensemble(of=method).eval()(y, physics)
    # Conjugate gradients leave a residual, which does not turn.
    closed = name == "adjoint" or boundary == "circular" or operator == "identity"
    exact = 1e-5 if closed else 1e-4
    torch.testing.assert_close(found, method(y, physics), rtol=0, atol=exact)


def test_positions_are_as_many_as_the_time_suffices_for(monkeypatch):
    assert [turns_within(s, 1.0) for s in (2.0, 3.9, 4.0, 7.9, 8.0, 100.0)] == [2, 2, 4, 4, 8, 8]
    with pytest.raises(UserError, match="takes 1 s an image, two .*and there are 1.9 s"):
        turns_within(1.9, 1.0)
    monkeypatch.setattr(ensemble, "seconds_a_pass", lambda *_: 1.0)
    session, problem = ToySession(), toy_problem(operator="identity")

    def fitted(**knobs):
        method = Ensemble(of=Shifts(), **knobs)
        method.fit(problem, toy_images(), TrainConfig(), session)
        again = Ensemble(of=Shifts(), **knobs)
        again.load_state_dict(method.state_dict())
        return int(again.turns_found)

    assert fitted() == 8, "nothing says how much time there is"
    assert fitted(seconds=5) == 4
    session.time_limit = TimeLimit(15.0, 1024, 2)
    assert fitted() == 4, "40 % of 15 s are 6 s"
    assert fitted(seconds=12) == 8
    with pytest.raises(UserError, match=r"`method.seconds`: is `12.1`, 80% .* is 12 s; give"):
        fitted(seconds=12.1)


def test_the_operators_are_those_that_can_be_turned():
    assert Ensemble.operators == TURNS


def test_the_operators_are_those_that_both_take():
    class Blurs(Shifts):
        operators = ("blur",)

    registry.check_operator(Ensemble(of=Blurs()), "ensemble", "mine", "blur")
    with pytest.raises(UserError, match="`Blurs`: is for the operators blur; .* is identity"):
        registry.check_operator(Ensemble(of=Blurs()), "ensemble", "mine", "identity")
