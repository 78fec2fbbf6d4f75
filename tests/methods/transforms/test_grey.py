"""Equal colours in the place of a grey measurement: its operator and its noise."""

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
    colours, in_colours = grey.in_colours(y, physics)
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


def test_the_level_that_is_told_is_that_of_colours_whose_mean_has_the_noise():
    noise = torch.randn(1, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    assert grey.in_grey(grey.LOUDER * noise).std() == pytest.approx(1, rel=0.01)
