"""Two measurements made of one are independent, and each has the noise that it says."""

import pytest
import torch
from deepinv.physics import GaussianNoise, Inpainting, PoissonGaussianNoise, PoissonNoise

from challenge.data.physics import families
from challenge.methods.training.recorruption import A2, levels, noisier, split

COUNT = 40_000
NOISES = {
    "gaussian": lambda: GaussianNoise(sigma=torch.tensor([0.1])),
    "poisson": lambda: PoissonNoise(gain=torch.tensor([0.05]), clip_positive=True),
    "both": lambda: PoissonGaussianNoise(
        gain=torch.tensor([0.05]), sigma=torch.tensor([0.1]), clip_positive=True
    ),
}


@pytest.mark.parametrize("kind", NOISES)
def test_the_two_are_unbiased_uncorrelated_and_as_noisy_as_they_say(kind):
    physics = families.build("identity", [{}], (1, 200, 200))
    physics.noise_model = NOISES[kind]()
    torch.manual_seed(0)
    x = torch.full((1, 1, 200, 200), 0.6)
    y = physics(x)
    one, two = split(y, physics, x, torch.Generator().manual_seed(1))
    gain, sigma = levels(physics.noise_model, y)
    variance = float(gain * 0.6 + sigma.square())
    more, _ = levels(noisier(physics).noise_model, y), None
    stated = float(more[0] * 0.6 + more[1].square())
    assert stated == pytest.approx((1 + A2) * variance)
    for each, expected in ((one, stated), (two, (1 + 1 / A2) * variance)):
        # Within five standard errors.
        assert float(each.mean()) == pytest.approx(0.6, abs=5 * (expected / COUNT) ** 0.5)
        assert float(each.var()) == pytest.approx(expected, rel=5 * (3 / COUNT) ** 0.5)
    together = torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]
    assert abs(float(together)) < 5 / COUNT**0.5
    assert type(noisier(physics).noise_model) is type(physics.noise_model)


def test_what_is_not_measured_stays_0():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., ::2] = 1
    physics = Inpainting(img_size=(1, 8, 8), mask=mask)
    physics.noise_model = GaussianNoise(sigma=torch.tensor([0.1]))
    y = mask * 0.5
    for each in split(y, physics, y, torch.Generator().manual_seed(0)):
        assert bool((each[mask == 0] == 0).all())
        assert bool((each[mask > 0] != 0.5).all())


def test_the_same_seed_makes_the_same_two():
    physics = families.build("identity", [{}], (1, 8, 8))
    y = torch.full((1, 1, 8, 8), 0.5)
    for make in NOISES.values():
        physics.noise_model = make()
        first, again = (split(y, physics, y, torch.Generator().manual_seed(3)) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
