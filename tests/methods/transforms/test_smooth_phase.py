"""The smooth phase of complex images."""

import torch

from challenge.data import noise
from challenge.data.images import phantoms
from challenge.methods.transforms.smooth_phase import (
    SHARE,
    smooth_phase,
    turn,
    turn_back,
)


def phantom(number=0, size=64):
    drawn = phantoms.draw(noise.generator(number, "phase"), size, "complex")
    return torch.from_numpy(drawn)[None].double()


def test_a_turn_and_its_way_back_are_inverse_and_adjoint():
    x, z = phantom(0), phantom(1)
    phase = smooth_phase(x)
    torch.testing.assert_close(turn_back(turn(z, phase), phase), z)
    torch.testing.assert_close((turn(z, phase) * x).sum(), (z * turn_back(x, phase)).sum())
    torch.testing.assert_close(turn(z, phase).norm(dim=1), z.norm(dim=1))


def test_a_turn_of_all_phases_turns_the_smooth_phase():
    x, angle = phantom(), torch.tensor(0.7, dtype=torch.float64)
    same = torch.stack([angle.cos(), angle.sin()]).reshape(1, 2, 1, 1).expand_as(x)
    torch.testing.assert_close(smooth_phase(turn(x, same)), turn(smooth_phase(x), same))


def test_what_is_turned_back_by_its_smooth_phase_is_nearly_real():
    for number in range(8):
        x = phantom(number)
        real, imaginary = turn_back(x, smooth_phase(x)).square().sum((0, 2, 3))
        assert imaginary < 0.01 * real


def test_real_images_that_are_not_negative_stay():
    x = phantom().norm(dim=1, keepdim=True)
    x = torch.cat([x, torch.zeros_like(x)], dim=1)
    torch.testing.assert_close(turn_back(x, smooth_phase(x)), x)


def test_an_image_of_zeros_has_a_phase_and_a_gradient():
    x = torch.zeros(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    phase = smooth_phase(x)
    assert torch.equal(phase[:, 0], torch.ones(1, 8, 8)) and torch.equal(
        phase[:, 1], torch.zeros(1, 8, 8)
    )
    phase.sum().backward()
    assert x.grad.isfinite().all()


def test_in_the_black_around_an_object_the_phase_is_determined():
    """A change of x moves p by no more than that of the mean would."""
    x = phantom()
    assert (x == 0).all(1).float().mean() > 0.1
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    _, moved = torch.func.jvp(smooth_phase, (x,), (change,))
    mean = x.mean((2, 3)).norm()
    assert moved.norm(dim=1).max() < change.norm(dim=1).max() / (0.5 * SHARE * mean)
