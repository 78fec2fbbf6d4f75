"""Unrolled algorithms whose steps begin as a denoiser."""

import copy

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods import registry
from challenge.methods.contract_test import COLOURED, ToySession, check, toy_images, toy_problem
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms.noise_level import noise_level


def drunet(**knobs):
    torch.manual_seed(3)
    section = {"name": "drunet", "width": 4, "depth": 1, "blocks": 1, **knobs}
    return registry.build(section).eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("metric", ["white", "spectral"])
@pytest.mark.parametrize(
    "operator",
    [each for each in COLOURED if each != "ct"] + [pytest.param("ct", marks=pytest.mark.slow)],
)
def test_started_from_a_denoiser_it_begins_as_plug_and_play(operator, metric, tied):
    """DPIR: x <- D(prox(x)) with levels from 49/255 down to sigma, R = 0.23 sigma^2 / level^2."""
    denoiser = drunet()
    method = Unrolled(steps=3, metric=metric, tied=tied, start=denoiser).eval()
    problem = toy_problem(operator=operator)
    y, physics = problem.measure(torch.stack([toy_images(2)[n] for n in range(2)]), [0, 1])
    data = DataTerm(y, physics)
    sigma = noise_level(y, physics)
    with torch.no_grad():
        x = method.wiener(DataTerm(y, physics))[0]
        for share in (0.0, 0.5, 1.0):
            level = (49 / 255) ** (1 - share) * sigma**share
            x = denoiser.denoise(data.prox(x, 0.23 * (sigma / level).square()), level)
        torch.testing.assert_close(method(y, physics), x, rtol=0, atol=2e-5)


def test_the_steps_learn_apart_from_the_denoiser_they_began_as():
    denoiser = drunet()
    before = copy.deepcopy(denoiser.state_dict())
    method = Unrolled(steps=2, start=denoiser)
    names = [name for name, _ in method.named_parameters()]
    kinds = {name.split(".")[0] for name in names}
    assert kinds == {"nets", "log_level", "slope", "log_error"}
    session = ToySession()
    train = TrainConfig(steps=2, patch=32, batch=2, evaluate=1, tune=2, precision="float32")
    method.fit(toy_problem(), toy_images(), train, session)
    after = method.nets[0].state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(denoiser.state_dict()[name], before[name]) for name in before)
    one, other = method.nets[0].state_dict(), method.nets[1].state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)
    again = Unrolled(steps=2, start=drunet(width=4))
    again.load_state_dict(method.state_dict())


IDLE = [{"grow": 0.5}, {"memory": 2}, {"net": {"width": 8}}]


@pytest.mark.parametrize("knobs", IDLE, ids=str)
def test_a_knob_that_started_steps_do_not_have_is_refused(knobs):
    section = {"name": "unrolled", "start": {"name": "drunet", "width": 4}, **knobs}
    with pytest.raises(UserError, match=f"`method.{next(iter(knobs))}`: is not read with"):
        registry.build(section)


def test_steps_begin_as_denoisers_that_are_told_a_level():
    section = {"name": "unrolled", "start": {"name": "tv", "weight": "usual"}}
    with pytest.raises(UserError, match="is not told the noise level"):
        registry.build(section)


@pytest.mark.parametrize("algorithm", ["pgd", "hqs", "admm", "pdhg"])
def test_started_steps_hold_to_the_contract(algorithm):
    assert check(lambda: Unrolled(algorithm=algorithm, steps=2, start=drunet())) == []
