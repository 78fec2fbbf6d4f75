"""A turned operator sees a turned image as the operator sees the image."""

import pytest
import torch
from deepinv.physics import GaussianNoise

from challenge.configs.errors import UserError
from challenge.data.physics.families import FAMILIES
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.transforms.symmetries import ORDER, SYMMETRIES, turn, turn_back
from challenge.methods.transforms.turned_operator import TURNS, turned

CASES = [
    ("blur", "circular"),
    ("blur", "valid"),
    ("blur", "reflect"),
    ("identity", None),
    ("inpainting", None),
    ("downsampling", "circular"),
    ("downsampling", "reflect"),
    ("compose", None),
]


def scene(operator, boundary, channels=3):
    problem = toy_problem(channels, boundary, operator)
    x = torch.stack([toy_images(2, channels)[n][:, :24, :36] for n in (0, 1)])
    return x, *problem.measure(x, [0, 1])


@pytest.mark.parametrize("which", range(SYMMETRIES))
@pytest.mark.parametrize(("operator", "boundary"), CASES)
def test_a_turned_operator_turns_the_measurement(operator, boundary, which):
    """A_T T x = T A x, likewise the adjoint, on images that are no squares."""
    x, y, physics = scene(operator, boundary)
    other = turned(physics, which)
    exact = {"rtol": 0, "atol": 2e-6}
    torch.testing.assert_close(other.A(turn(x, which)), turn(physics.A(x), which), **exact)
    back = other.A_adjoint(turn(y, which))
    torch.testing.assert_close(back, turn(physics.A_adjoint(y), which), **exact)
    assert other.noise_model is physics.noise_model
    # Its closed forms are those of its kind: a data step is the same in turned coordinates.
    weight = torch.tensor(0.1)
    data = DataTerm(y, physics)
    step = DataTerm(turn(y, which), other).prox(turn(x, which), weight)
    # Conjugate gradients stop at a relative residual of 1e-6, divided by R = 0.1.
    closed = data.circular or data.factor is not None or data.mask is not None
    atol = 1e-5 if closed else 1e-4
    torch.testing.assert_close(step, turn(data.prox(x, weight), which), rtol=0, atol=atol)


def test_a_kernel_at_the_edge_of_its_support_is_moved_too():
    problem = toy_problem(1, "circular", "downsampling")
    kernel = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0)).numpy()
    drawn = {"kernel": kernel[0], "boundary": "circular", "factor": 3}
    physics = FAMILIES["downsampling"].build(
        {**drawn, "kernel": torch.from_numpy(kernel)}, (1, 12, 18)
    )
    physics.noise_model = GaussianNoise(sigma=torch.tensor([0.01]))
    x = torch.rand(1, 1, 12, 18, generator=torch.Generator().manual_seed(1))
    for which in range(SYMMETRIES):
        got = turned(physics, which).A(turn(x, which))
        torch.testing.assert_close(turn_back(got, which), physics.A(x), rtol=0, atol=1e-6)
    assert problem.channels == 1


@pytest.mark.parametrize("operator", sorted(FAMILIES.keys() - set(TURNS)))
def test_what_cannot_be_turned_is_told_in_a_line(operator):
    problem = toy_problem(operator=operator)
    x = toy_images(1, problem.channels)[0][None]
    _, physics = problem.measure(x, [0])
    with pytest.raises(UserError, match="cannot be turned with its image") as caught:
        turned(physics, 1)
    assert len(str(caught.value).splitlines()) == 1
    assert turned(physics, 0) is physics


def test_the_first_symmetries_are_groups():
    """Whatever is averaged over them commutes with them."""
    x = torch.arange(6.0).reshape(1, 1, 2, 3)

    def key(x):
        return tuple(x.shape), tuple(x.flatten().tolist())

    for count in (1, 2, 4, 8):
        found = {key(turn(x, which)) for which in ORDER[:count]}
        assert len(found) == count
        assert {key(turn(turn(x, a), b)) for a in ORDER[:count] for b in ORDER[:count]} == found
