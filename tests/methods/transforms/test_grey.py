"""Colours in the place of a grey measurement: its operator and its noise."""

import pytest
import torch

from challenge.data.physics.families import FAMILIES
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.transforms import grey

OPERATORS = [(kind, None) for kind in FAMILIES if 1 in FAMILIES[kind].channels]
OPERATORS += [("blur", "valid"), ("blur", "reflect"), ("downsampling", "reflect")]


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_the_operator_does_to_every_colour_what_it_did_to_one(operator, boundary):
    x = torch.stack([toy_images(2, channels=1)[index] for index in range(2)])
    y, physics = toy_problem(1, boundary, operator).measure(x, [0, 1])
    colours, in_colours, _ = grey.in_colours(y, physics, torch.zeros(1, 1, 1, 1))
    assert in_colours.noise_model is physics.noise_model
    expected = physics.A(x), physics.A_adjoint(y)
    found = in_colours.A(x.expand(-1, 3, -1, -1)), in_colours.A_adjoint(colours)
    for one, three in zip(expected, found, strict=True):
        assert three.shape[1] == 3
        torch.testing.assert_close(three, one.expand_as(three), rtol=0, atol=1e-6)
    torch.testing.assert_close(grey.in_grey(colours), y, rtol=0, atol=1e-6)
    # And to colours that differ.
    picture = torch.stack([toy_images(2)[index] for index in range(2)])
    for channel, seen in enumerate(in_colours.A(picture).split(1, 1)):
        alone = physics.A(picture[:, channel : channel + 1])
        torch.testing.assert_close(seen, alone, rtol=0, atol=1e-6)


def test_noise_between_colours_is_white_at_the_level_that_is_told():
    """sigma^2 1 1^T + 3 sigma^2 (I - 1 1^T / 3) = 3 sigma^2 I, and the mean is the measurement."""
    y = torch.randn(2, 1, 400, 300, generator=torch.Generator().manual_seed(1))
    level = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    _, physics = toy_problem(1).measure(torch.rand(2, 1, 32, 32), [0, 1])
    colours, _, told = grey.in_colours(level * y, physics, level)
    torch.testing.assert_close(grey.in_grey(colours), level * y, rtol=0, atol=1e-5)
    for image, sigma in zip(colours, (1.0, 2.0), strict=True):
        covariance = torch.cov(image.flatten(1))
        torch.testing.assert_close(
            covariance, 3 * sigma**2 * torch.eye(3), rtol=0, atol=0.03 * sigma**2
        )
    torch.testing.assert_close(told.flatten(), 3**0.5 * torch.tensor([1.0, 2.0]))


def test_noise_between_colours_does_not_depend_on_the_batch():
    y, level = torch.rand(3, 1, 20, 24), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1, 1)
    _, physics = toy_problem(1).measure(torch.rand(3, 1, 32, 32), [0, 1, 2])
    together, _, _ = grey.in_colours(y, physics, level)
    alone, _, _ = grey.in_colours(y[1:2], physics, level[1:2])
    assert torch.equal(together[1:2], alone)
    state = torch.random.get_rng_state()
    assert torch.equal(grey.in_colours(y, physics, level)[0], together)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_noise_between_colours_is_none_that_a_method_draws():
    """`adapt` splits a measurement by noise of its own, from a generator with its seed."""
    _, physics = toy_problem(1).measure(torch.rand(1, 1, 32, 32), [0])
    colours, _, _ = grey.in_colours(torch.zeros(1, 1, 64, 64), physics, torch.ones(1, 1, 1, 1))
    for seed in (0, 1):
        drawn = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
        both = torch.stack([colours[0, 0].flatten(), drawn.flatten()])
        assert abs(torch.corrcoef(both)[0, 1]) < 0.06
