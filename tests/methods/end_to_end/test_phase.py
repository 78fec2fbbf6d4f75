"""Methods whose networks see complex images turned by their smooth phase."""

import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.transforms.smooth_phase import turn
from tests.methods.end_to_end import test_deq, test_unrolled

MADE = [
    pytest.param(module, algorithm, id=f"{module.__name__.rpartition('_')[2]}-{algorithm}")
    for module in (test_unrolled, test_deq)
    for algorithm in module.ALGORITHMS
]


@pytest.mark.parametrize(("module", "algorithm"), MADE)
def test_a_turn_of_all_phases_turns_the_estimate(module, algorithm):
    """What a network sees of a complex image does not depend on the scanner's own phase."""
    problem = toy_problem(operator="mri")
    x = toy_images(1, channels=2)[0][None, :, :24, :24]
    y, physics = problem.measure(x, [0])
    method = module.wake(module.make(algorithm, channels=2).eval(), 0.02).double()
    y, physics = y.double(), physics.double()
    angle = torch.tensor(0.7, dtype=torch.float64)

    def turned(z):
        same = torch.stack([angle.cos(), angle.sin()]).reshape(1, 2, 1, 1)
        return turn(z, same.expand_as(z))

    with torch.no_grad():
        x_hat = method(y, physics)
        torch.testing.assert_close(method(turned(y), physics), turned(x_hat))
        method.turned = False
        with pytest.raises(AssertionError):
            torch.testing.assert_close(method(turned(y), physics), turned(method(y, physics)))


@pytest.mark.parametrize(("module", "algorithm"), MADE)
def test_images_without_a_phase_have_no_knob_for_it(module, algorithm):
    with pytest.raises(UserError, match="phase"):
        module.make(algorithm, phase=True, channels=3)
