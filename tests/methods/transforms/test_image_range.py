"""Complex images are brought into their range by the magnitude: no sign and no phase is lost."""

import pytest
import torch

from challenge.methods.transforms.image_range import compared, confined, middle


def drawn(channels):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(4, channels, 6, 5, generator=generator, dtype=torch.float64)


def test_the_phase_stays_and_the_magnitude_is_at_most_1():
    x = drawn(2)
    found = confined(x)
    before, after = (torch.complex(each[:, 0], each[:, 1]) for each in (x, found))
    torch.testing.assert_close(after.angle(), before.angle())
    torch.testing.assert_close(after.abs(), before.abs().clamp(max=1))
    torch.testing.assert_close(compared(x)[:, 0], before.abs().clamp(max=1))
    inside = 0.3 * found
    assert torch.equal(confined(inside), inside)
    assert not confined(torch.zeros(1, 2, 3, 3)).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_real_images_are_cut_off(channels):
    x = drawn(channels)
    assert torch.equal(confined(x), x.clamp(0, 1))
    assert torch.equal(compared(x), x.clamp(0, 1))
    assert (middle(channels), middle(2)) == (0.5, 0.0)
