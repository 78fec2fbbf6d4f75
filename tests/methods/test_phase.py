"""Methods whose networks see complex images turned by their smooth phase."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.data.physics.families import FAMILIES
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.end_to_end.deq import DEQ
from challenge.methods.end_to_end.neural_ode import NeuralODE
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.plug_and_play.drunet import DRUNet
from challenge.methods.transforms.smooth_phase import turn
from tests.methods.end_to_end import (
    test_deq,
    test_lpd,
    test_network,
    test_neural_ode,
    test_unrolled,
)

COMPLEX = [name for name, family in FAMILIES.items() if 2 in family.channels]


def lpd(**knobs):
    """Without the networks of its dual, which see frequencies as they were measured."""
    method = test_lpd.make(**knobs)
    method.dual = lambda k, h, ahead, y: h + (ahead - y).repeat(1, method.groups, 1, 1)
    return method


def drunet(**knobs):
    return DRUNet(width=4, depth=1, blocks=1, shuffle=2, precision="float32", **knobs)


def started(method):
    """With a denoiser of complex images in place of its network."""

    def make(**knobs):
        return method(start=drunet(channels=2), **knobs)

    return make


STARTED = (Unrolled, DEQ, NeuralODE)
MADE = [
    pytest.param(module.make, {"algorithm": algorithm}, "mri", id=f"{name}-{algorithm}")
    for name, module in (
        ("unrolled", test_unrolled),
        ("deq", test_deq),
        ("neural_ode", test_neural_ode),
    )
    for algorithm in module.ALGORITHMS
]
MADE += [
    pytest.param(lpd, {"preconditioned": each}, "mri", id=f"lpd-{each}") for each in (True, False)
]
MADE.append(pytest.param(drunet, {}, "identity", id="drunet"))
MADE += [pytest.param(started(each), {}, "mri", id=f"{each.__name__}-started") for each in STARTED]
MADE += [pytest.param(test_network.small, {}, name, id=f"network-{name}") for name in COMPLEX]


@pytest.mark.parametrize(("make", "knobs", "operator"), MADE)
def test_a_turn_of_all_phases_turns_the_estimate(make, knobs, operator):
    """What a network sees of a complex image does not depend on the scanner's own phase."""
    problem = toy_problem(2, operator=operator)
    x = toy_images(1, channels=2)[0][None, :, :24, :24]
    y, physics = problem.measure(x, [0])
    method = test_lpd.wake(make(channels=2, **knobs).eval()).double()
    without = test_lpd.wake(make(channels=2, phase=False, **knobs).eval()).double()
    y, physics = y.double(), physics.double()
    angle = torch.tensor(0.7, dtype=torch.float64)

    def turned(z):
        same = torch.stack([angle.cos(), angle.sin()]).reshape(1, 2, 1, 1)
        return turn(z, same.expand_as(z))

    with torch.no_grad():
        x_hat = method(y, physics)
        torch.testing.assert_close(method(turned(y), physics), turned(x_hat))
        with pytest.raises(AssertionError):
            torch.testing.assert_close(without(turned(y), physics), turned(without(y, physics)))


@pytest.mark.parametrize(("make", "knobs", "operator"), MADE)
def test_images_without_a_phase_have_no_knob_for_it(make, knobs, operator):
    with pytest.raises(UserError, match="phase"):
        make(phase=True, channels=3, **knobs)
