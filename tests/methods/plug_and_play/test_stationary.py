"""The map that the theorems are held against is the one that the methods repeat."""

from itertools import islice

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods.contract import Method
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.plug_and_play.gs_pnp import GSPnP
from challenge.methods.plug_and_play.pnp import PnP
from challenge.methods.plug_and_play.red import Red
from challenge.methods.plug_and_play.stationary import HasStationary
from challenge.methods.solvers.data_term import DataTerm

LAST = 4
"""Passes after which every schedule here stays."""


class Smooth(Method):
    """D(x) = x - grad g(x), g = sigma / 4 times the sum of squared differences of columns."""

    operators = ("identity",)

    def forward(self, y, physics):
        return self.denoise(y, physics.noise_model.sigma)

    def potential(self, x, sigma):
        return sigma.flatten() * (x - x.roll(1, -1)).square().flatten(1).sum(1) / 4

    def denoise(self, x, sigma):
        return x - sigma * (x - (x.roll(1, -1) + x.roll(-1, -1)) / 2)


@pytest.fixture(scope="module")
def scene():
    x = toy_images(1)[0][None, :, :16, :16]
    return toy_problem(operator="blur").measure(x, [0])


def pnp(algorithm, **knobs):
    return PnP(denoiser=Smooth(), algorithm=algorithm, iterations=LAST, **knobs).eval()


def red(algorithm):
    return Red(denoiser=Smooth(), algorithm=algorithm, iterations=LAST, denoised=False).eval()


CASES = {
    **{f"pnp {each}": pnp(each) for each in ("hqs", "pgd")},
    "pnp hqs, fixed": pnp("hqs", schedule="fixed"),
    "pnp hqs, ensemble": pnp("hqs", ensemble=True),
    **{f"red {each}": red(each) for each in ("gradient", "fixed_point")},
}


@pytest.mark.parametrize("name", CASES)
def test_a_method_goes_on_by_its_map(scene, name):
    method, (y, physics) = CASES[name], scene
    assert isinstance(method, HasStationary)
    every = method.estimates
    *_, before, after = islice(every(y, physics, LAST + 2), LAST + 2)
    follow = method.stationary(y, physics).map(DataTerm(y, physics))
    torch.testing.assert_close(follow(before), after, rtol=0, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["drs", "admm"])
def test_the_states_of_splittings_lead_to_their_estimates(scene, algorithm):
    y, physics = scene
    method = pnp(algorithm, schedule="fixed")
    start = torch.full((1, 3, 16, 16), 0.5)
    theirs = list(method.estimates(y, physics, 5, start))
    iteration, data = method.stationary(y, physics), DataTerm(y, physics)
    penalty = torch.full((1, 1, 1, 1), 1 / iteration.step)

    def pushed(z):
        return 2 * data.prox(z, penalty) - z

    first = start if algorithm == "drs" else data.prox(start, penalty)
    for estimate, state in zip(theirs, iteration.iterate(data, first), strict=False):
        seen = pushed(state) if algorithm == "drs" else state
        torch.testing.assert_close(iteration.denoise(seen), estimate, rtol=0, atol=1e-5)


def test_a_gradient_step_begins_with_its_map(scene):
    y, physics = scene
    method = GSPnP(denoiser=Smooth(), denoised=False, tolerance=0).eval()
    first, second = islice(method.estimates(y, physics), 2)
    iteration = method.stationary(y, physics)
    assert iteration.backtracks
    follow = iteration.map(DataTerm(y, physics))
    torch.testing.assert_close(follow(first), second, rtol=0, atol=1e-5)


def test_red_by_admm_has_no_map_of_one_image(scene):
    with pytest.raises(UserError, match="whose state is more than one image"):
        red("admm").stationary(*scene)
