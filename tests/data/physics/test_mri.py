"""Magnetic resonance against what is known of the Fourier transform, and its masks."""

import re

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data import noise
from challenge.data.physics import families
from challenge.data.physics.mri import MRI

SHAPE = (2, 24, 32)


def section(**given):
    return TypeAdapter(schema.Operator).validate_python({"kind": "mri", **given})


def mask(config, draw=0, shape=SHAPE):
    return MRI().draw(config, {}, shape, noise.choices(b"k", "a", draw))["mask"]


def operator(**given):
    drawn = [{"mask": mask(section(**given), draw)} for draw in range(2)]
    return families.build("mri", drawn, SHAPE)


def images():
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).double()


def test_a_full_mask_is_inverted_exactly():
    physics, x = operator(acceleration=1), images()
    for inverse in (physics.A_adjoint, physics.A_dagger):
        torch.testing.assert_close(inverse(physics.A(x)), x, rtol=0, atol=1e-12)


def test_the_transform_keeps_the_energy():
    """Parseval: all of it with a full mask; a part and the rest with a mask and its complement."""
    x = images()
    energy = x.square().sum((1, 2, 3))
    assert torch.allclose(operator(acceleration=1).A(x).square().sum((1, 2, 3)), energy)
    drawn = mask(section(acceleration=4))
    parts = [
        families.build("mri", [{"mask": each}], SHAPE).A(x).square().sum((1, 2, 3))
        for each in (drawn, ~drawn)
    ]
    assert torch.allclose(sum(parts), energy)


def test_the_adjoint_of_a_mask_is_its_pseudo_inverse():
    physics, x = operator(acceleration=4), images()
    y = physics.A(x)
    torch.testing.assert_close(physics.A_dagger(y), physics.A_adjoint(y))
    torch.testing.assert_close(physics.A(physics.A_adjoint(y)), y)


def test_the_picture_is_the_zero_filled_image():
    physics, x = operator(acceleration=2), images()
    y = physics.A(x)
    picture = MRI().picture(y[0].numpy(), {}, SHAPE)
    np.testing.assert_allclose(picture, physics.A_adjoint(y)[0], atol=1e-6)


@pytest.mark.parametrize("pattern", ["random", "equispaced"])
@pytest.mark.parametrize(("acceleration", "centre"), [(4, 0.08), (8, 0.04), (2, 0), (1, 0.1)])
@pytest.mark.parametrize("width", [32, 63, 128])
def test_masks_sample_what_they_say(pattern, acceleration, centre, width):
    config = section(acceleration=acceleration, centre=centre, pattern=pattern)
    drawn = [mask(config, draw, (2, 24, width)) for draw in range(20)]
    middle = round(centre * width)
    for each in drawn:
        assert each.sum() == round(width / acceleration)
        first = width // 2 - middle // 2
        assert each[first : first + middle].all()
    if acceleration > 1:
        assert len({each.tobytes() for each in drawn}) > 1  # every image has its own
    if pattern == "random":
        # No column is left out for ever.
        often = [mask(config, draw, (2, 24, width)) for draw in range(200)]
        assert np.mean(often, 0).min() > 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"acceleration": 100}, "`100` leaves nothing of 32 columns to sample"),
        ({"acceleration": 8, "centre": 0.5}, "is 16 of 32 columns, an acceleration of 8 leaves 4"),
    ],
)
def test_masks_that_cannot_be_are_told(given, text):
    with pytest.raises(UserError, match=text):
        MRI().load(section(**given), SHAPE, None, lambda _: None)


@pytest.mark.parametrize("centre", [0, 0.04, 0.08, 0.3, 1])
@pytest.mark.parametrize("acceleration", [3, 7.9, 100, 1000])
def test_what_is_told_to_give_can_be(acceleration, centre):
    """Each number that a remedy names, put in place of what was refused."""
    told = 0
    for width in (32, 45, 63, 128, 200, 512, 1023):
        shape, given = (2, 24, width), {"acceleration": acceleration, "centre": centre}
        try:
            MRI().load(section(**given), shape, None, lambda _: None)
        except UserError as error:
            (mistake,) = error.mistakes
            key = mistake.place.strip("`").removeprefix("operator.")
            first, *second = re.findall(r"at most ([\d.e-]+)", mistake.remedy)
            remedies = [{key: float(first)}, *({"acceleration": float(each)} for each in second)]
            for remedy in remedies:
                MRI().load(section(**given | remedy), shape, None, lambda _: None)
            told += 1
    assert told or acceleration * centre < 1


@pytest.mark.parametrize(
    "stored", [np.zeros(32, bool), np.ones(31, bool), np.ones(32), np.ones((32, 1), bool), "no"]
)
def test_stored_masks_are_checked(stored):
    assert "mask" in MRI().wrong({"mask": stored}, SHAPE)
